//! The network: a bridge in the namespace of the test, where the balancer is, and a namespace for each
//! server.

use std::path::Path;
use std::process::Command;

/// The address of the balancer in the network of the servers, as the examples have it.
pub(crate) const BALANCER: &str = "192.0.2.1";

/// The bridge that joins all of them.
const BRIDGE: &str = "fleet";

/// Makes the bridge.
pub(crate) fn make_bridge() {
    ip("link set lo up");
    ip(&format!("link add {BRIDGE} type bridge"));
    ip(&format!("address add {BALANCER}/24 dev {BRIDGE}"));
    ip(&format!("link set {BRIDGE} up"));
}

/// A server's place in the network.
pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) address: String,
}

impl Host {
    pub(crate) fn new(name: &'static str, number: u8) -> Self {
        let address = format!("192.0.2.{number}");
        ip(&format!("netns add {name}"));
        ip(&format!("link add to-{name} type veth peer name eth0 netns {name}"));
        ip(&format!("link set to-{name} master {BRIDGE} up"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} address add {address}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        Self { name, address }
    }

    /// A command there.
    pub(crate) fn run(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name]).arg(program);
        command
    }

    /// Kills all that runs there.
    pub(crate) fn kill(&self) {
        let script = "kill -KILL $(ip netns pids \"$1\")";
        let killed = Command::new("sh").args(["-c", script, "sh", self.name]).status();
        assert!(killed.is_ok_and(|status| status.success()), "{}", self.name);
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.unwrap_or_else(|error| panic!("ip: {error}; install the package iproute2"));
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
