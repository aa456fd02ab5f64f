//! The machine that this runs on.

/// Its name; `unknown` where the system does not say it.
pub fn host_name() -> String {
    let said = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if said.trim().is_empty() { "unknown".into() } else { said.trim().into() }
}
