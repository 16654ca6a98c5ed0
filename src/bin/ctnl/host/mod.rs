//! What the program reads from its host: processes, namespaces, privileges,
//! files and the service manager.

pub mod boot;
pub mod buckets;
pub mod conntrack_module;
pub mod conntrack_sysctls;
pub mod event_sysctls;
pub mod files;
pub mod kernel_log;
pub mod namespace_owner;
pub mod namespaces;
pub mod new_namespaces;
pub mod privileges;
pub mod process_by_portid;
pub mod procfs;
pub mod programs;
pub mod protocols;
pub mod sd_notify;
pub mod ssh;
pub mod table_memory;
pub mod timeout_notes;
pub mod timeout_options;
pub mod timeout_refresh;
pub mod whole_file;
