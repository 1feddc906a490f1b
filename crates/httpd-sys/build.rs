//! Generates the bindings from the headers of the Apache that `apxs` describes.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Everything that is used, and nothing else: an addition to this list is an addition to what has
/// to be understood about Apache.
const FUNCTIONS: &[&str] = &[
    // http_config.h, ap_mpm.h, mpm_common.h, http_main.h
    "ap_hook_access_checker",
    "ap_hook_child_init",
    "ap_hook_child_status",
    "ap_hook_create_request",
    "ap_hook_handler",
    "ap_hook_monitor",
    "ap_hook_post_config",
    "ap_hook_test_config",
    "ap_hook_translate_name",
    "ap_mpm_query",
    "ap_show_mpm",
    "ap_state_query",
    "ap_walk_config",
    // http_core.h, httpd.h
    "ap_add_version_component",
    "ap_context_document_root",
    "ap_context_prefix",
    "ap_document_root",
    "ap_escape_html2",
    "ap_exists_config_define",
    "ap_allow_options",
    "ap_get_conn_socket",
    "ap_get_limit_req_body",
    "ap_get_server_banner",
    "ap_get_server_built",
    "ap_get_server_description",
    "ap_get_server_name_for_url",
    "ap_get_server_port",
    "ap_get_server_revision",
    "ap_get_status_line",
    "ap_run_generate_log_id",
    "ap_run_http_scheme",
    // http_request.h, http_core.h, util_script.h: access
    "ap_get_useragent_host",
    "ap_psignature",
    "ap_register_auth_provider",
    "ap_satisfies",
    "ap_some_auth_required",
    // scoreboard.h
    "ap_calc_scoreboard_size",
    "ap_exists_scoreboard_image",
    "ap_get_scoreboard_global",
    "ap_get_scoreboard_process",
    "ap_get_scoreboard_worker_from_indexes",
    // http_log.h
    "ap_get_request_module_loglevel",
    "ap_get_server_module_loglevel",
    "ap_log_error_",
    "ap_log_rerror_",
    // http_protocol.h, util_filter.h
    "ap_bucket_error_create",
    "ap_get_brigade",
    "ap_map_http_request_error",
    "ap_pass_brigade",
    "ap_internal_redirect",
    "ap_remove_output_filter_byhandle",
    "ap_rwrite",
    "ap_send_interim_response",
    "ap_set_content_length",
    "ap_set_content_type",
    // ap_regex.h
    "ap_regcomp",
    "ap_regexec_len",
    "ap_regfree",
    // APR
    "apr_brigade_cleanup",
    "apr_brigade_create",
    "apr_brigade_destroy",
    "apr_brigade_insert_file",
    "apr_bucket_alloc",
    "apr_bucket_eos_create",
    "apr_bucket_file_enable_mmap",
    "apr_bucket_flush_create",
    "apr_bucket_free",
    "apr_bucket_heap_make",
    "apr_bucket_setaside_noop",
    "apr_bucket_shared_copy",
    "apr_bucket_shared_destroy",
    "apr_bucket_shared_make",
    "apr_bucket_shared_split",
    "apr_bucket_transient_create",
    "apr_dynamic_fn_retrieve",
    "apr_file_dup",
    "apr_hash_get",
    "apr_optional_hook_add",
    "apr_os_file_get",
    "apr_os_file_put",
    "apr_os_sock_get",
    "apr_palloc",
    "apr_pool_cleanup_null",
    "apr_pool_cleanup_register",
    "apr_pool_create_ex",
    "apr_pool_destroy",
    "apr_pool_pre_cleanup_register",
    "apr_pool_userdata_get",
    "apr_pool_userdata_setn",
    "apr_proc_other_child_register",
    "apr_proc_other_child_unregister",
    "apr_socket_timeout_get",
    "apr_socket_timeout_set",
    "apr_table_addn",
    "apr_table_get",
    "apr_table_mergen",
    "apr_table_setn",
    "apr_table_unset",
    "apr_uri_unparse",
];

const TYPES: &[&str] = &[
    "ap_conf_vector_t",
    "ap_regex_t",
    "ap_regmatch_t",
    "ap_version_t",
    "authn_provider",
    "authz_provider",
    "apr_bucket",
    "apr_bucket_brigade",
    "apr_bucket_refcount",
    "apr_bucket_type_t",
    "apr_proc_t",
    "apr_table_entry_t",
    "cmd_parms",
    "command_rec",
    "conn_rec",
    "core_dir_config",
    "module",
    "request_rec",
    "server_rec",
];

const VARIABLES: &[&str] = &[
    "ap_bucket_type_error",
    "ap_conftree",
    "ap_coredumpdir_configured",
    "ap_server_conf",
    "ap_top_module",
    "ap_unixd_config",
    "apr_bucket_type_eos",
    "core_module",
    "ACCESS_CONF",
    "AP_AUTH_INTERNAL_PER_URI",
    "AP_FILTER_ERROR",
    "AP_CGI_PASS_AUTH_ON",
    "AP_CORE_CONFIG_ON",
    "AP_MPMQ_.*",
    "AP_REG_EXTENDED",
    "AP_REQ_.*_PATH_INFO",
    "AP_SQ_.*",
    "APR_FINFO_MTIME",
    "APR_BUCKET_DATA",
    "APR_BUCKET_METADATA",
    "APR_EGENERAL",
    "APR_FOPEN_READ",
    "APR_FOPEN_SENDFILE_ENABLED",
    "APR_HOOK_MIDDLE",
    "APR_OC_REASON_.*",
    "AUTH[NZ]_PROVIDER_GROUP",
    "AUTH[NZ]_PROVIDER_VERSION",
    "DECLINED",
    "M_GET",
    "MODULE_MAGIC_COOKIE",
    "MODULE_MAGIC_NUMBER_MAJOR",
    "MODULE_MAGIC_NUMBER_MINOR",
    "OK",
    "OPT_EXECCGI",
    "OR_AUTHCFG",
    "OR_FILEINFO",
    "REMOTE_HOST",
    "RSRC_CONF",
    "SATISFY_ANY",
    "SERVER_BUSY_.*",
    "SERVER_CLOSING",
    "SERVER_DEAD",
    "SERVER_GRACEFUL",
    "SERVER_IDLE_KILL",
    "SERVER_READY",
    "SERVER_STARTING",
];

const HEADERS: &[&str] = &[
    "httpd.h",
    "http_config.h",
    "http_core.h",
    "http_log.h",
    "http_main.h",
    "http_protocol.h",
    "http_request.h",
    "mod_auth.h",
    "ap_mpm.h",
    "mpm_common.h",
    "ap_regex.h",
    "scoreboard.h",
    "util_filter.h",
    "util_script.h",
    "unixd.h",
    "apr_buckets.h",
    "apr_hash.h",
    "apr_optional.h",
    "apr_optional_hooks.h",
    "apr_portable.h",
    "apr_strings.h",
    "apr_tables.h",
    "apr_thread_proc.h",
    "apr_uri.h",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=APXS");
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    let arguments = compiler_arguments();
    let header: String = HEADERS.iter().map(|name| format!("#include <{name}>\n")).collect();
    let builder = bindgen::Builder::default()
        .header_contents("httpd-sys.h", &header)
        .clang_args(&arguments)
        .allowlist_type(any(TYPES))
        .allowlist_function(any(FUNCTIONS))
        .allowlist_var(any(VARIABLES))
        .opaque_type("sockaddr_.*|in6_addr")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_default(false)
        .generate_comments(false)
        .layout_tests(true)
        .rust_target(
            bindgen::RustTarget::stable(85, 0).unwrap_or_else(|_| fail("bindgen does not know Rust 1.85")),
        )
        .rust_edition(bindgen::RustEdition::Edition2024)
        .wrap_unsafe_ops(true);
    for include in include_directories(&arguments) {
        println!("cargo::rerun-if-changed={}", include.display());
    }
    let bindings = builder.generate().unwrap_or_else(|error| {
        fail(&format!(
            "cannot read Apache's headers: {error}\n  with: {}\n  The headers come with Apache's development package (Debian: apache2-dev), \
             libclang with clang's (Debian: libclang-dev).",
            arguments.join(" ")
        ))
    });
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| fail("OUT_DIR is not set")))
        .join("bindings.rs");
    if let Err(error) = bindings.write_to_file(&out) {
        fail(&format!("cannot write {}: {error}", out.display()));
    }
}

fn any(names: &[&str]) -> String {
    names.join("|")
}

/// Returns the options with which a C compiler finds and understands the headers.
fn compiler_arguments() -> Vec<String> {
    let mut arguments = vec![format!("-I{}", query("INCLUDEDIR"))];
    for tool in ["APR_CONFIG", "APU_CONFIG"] {
        arguments.push(format!("-I{}", run(&query(tool), &["--includedir"])));
    }
    for flags in [query("EXTRA_CPPFLAGS"), run(&query("APR_CONFIG"), &["--cppflags"])] {
        arguments.extend(flags.split_whitespace().map(str::to_owned));
    }
    arguments
}

fn include_directories(arguments: &[String]) -> Vec<PathBuf> {
    let directories = arguments.iter().filter_map(|argument| argument.strip_prefix("-I"));
    directories.map(|directory| Path::new(directory).join("httpd.h")).filter(|path| path.exists()).collect()
}

fn query(name: &str) -> String {
    run(&apxs(), &["-q", name])
}

fn apxs() -> String {
    let found = |name: &&str| Command::new(name).args(["-q", "INCLUDEDIR"]).output().is_ok();
    match env::var("APXS") {
        Ok(path) => path,
        Err(_) => ["apxs", "apxs2"].into_iter().find(found).map(str::to_owned).unwrap_or_else(|| {
            fail(
                "Apache's apxs was not found. Install Apache's development package (Debian, Ubuntu: apache2-dev; \
                 Fedora: httpd-devel), or name the program in the environment variable APXS.",
            )
        }),
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| {
        fail(&format!("cannot run `{command}`: {error}. Set APXS to the apxs of the Apache to build for."))
    });
    if !output.status.success() {
        fail(&format!("`{command}` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a build script has nothing to clean up")]
fn fail(message: &str) -> ! {
    for line in message.lines() {
        println!("cargo::error={line}");
    }
    exit(1)
}
