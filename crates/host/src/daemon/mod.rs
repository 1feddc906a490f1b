//! A daemon process: a Python interpreter whose main thread has called [`serve`].
//!
//! | thread | | needs Python |
//! |---|---|---|
//! | main | starts Python's side, waits for the end, ends the interpreters | yes |
//! | events | connections, orders of the supervisor, signals, timers, requests that wait | never |
//! | workers | requests | yes |
//! | watchdog, interrupts, signals | see [`monitor`] | yes |

mod connection;
mod crew;
pub(crate) mod descriptors;
mod event_loop;
mod exchange;
mod incoming;
mod log;
mod mode;
mod monitor;
mod question;
mod reload;
mod server;
mod setup;
mod start_order;
mod state;
mod stop;
mod template;
mod threads;
mod watchdog;
mod worker;
mod workers;

pub(crate) use setup::serve;
