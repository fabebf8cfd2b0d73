//! What the system allows this process: memory by its cgroups, open files by its limits.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Version 1 of cgroups says "no limit" with a number close to the largest one.
const MEMORY_NONE: u64 = 1 << 60;

/// The smallest memory limit of the cgroups that this process is in; `None` when they have none.
pub(crate) fn memory_limit() -> Option<u64> {
    smallest_limit(|path| std::fs::read_to_string(path).ok())
}

/// Walks from this process's cgroup up to the root. A limit further up holds too; what a container does not see can't be read.
fn smallest_limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let cgroups = read("/proc/self/cgroup").unwrap_or_default();
    let mut files = Vec::new();
    for line in cgroups.lines() {
        // number:controllers:path, where version 2 has no controllers
        let mut parts = line.splitn(3, ':').skip(1);
        match (parts.next(), parts.next()) {
            (Some(""), Some(path)) => files.extend(upwards("/sys/fs/cgroup", path, "memory.max")),
            (Some(controllers), Some(path)) if controllers.split(',').any(|name| name == "memory") => {
                files.extend(upwards("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"));
            }
            _ => {}
        }
    }
    let limits = files.iter().filter_map(|file| read(file)?.trim().parse::<u64>().ok());
    limits.filter(|limit| *limit < MEMORY_NONE).min()
}

/// A file of a cgroup and of all above it.
fn upwards(root: &str, path: &str, file: &str) -> Vec<String> {
    let mut path = path.trim_end_matches('/');
    let mut files = vec![format!("{root}{path}/{file}")];
    while let Some((parent, _)) = path.rsplit_once('/') {
        path = parent;
        files.push(format!("{root}{path}/{file}"));
    }
    files
}

/// A log has a file per segment: the soft limit of 1024 is for programs that use select.
pub(crate) fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit on open files could not be raised");
    }
}

/// How many files this process may have open.
pub(crate) fn file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit, setrlimit};

    use super::{raise_file_limit, smallest_limit};

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        smallest_limit(|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let cgroup = ("/proc/self/cgroup", "0::/pods/pod/broker\n");
        let (own, pod) = ("/sys/fs/cgroup/pods/pod/broker/memory.max", "/sys/fs/cgroup/pods/pod/memory.max");
        assert_eq!(limit(&[cgroup, (own, "2000\n"), (pod, "1000\n")]), Some(1000));
        assert_eq!(limit(&[cgroup, (own, "500\n"), (pod, "1000\n")]), Some(500));
        assert_eq!(limit(&[cgroup, (own, "max\n"), (pod, "max\n")]), None);
    }

    #[test]
    fn a_container_that_sees_only_the_root_reads_that() {
        assert_eq!(limit(&[("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "700\n")]), Some(700));
        let host_path = ("/proc/self/cgroup", "0::/pods/unseen\n");
        assert_eq!(limit(&[host_path, ("/sys/fs/cgroup/memory.max", "700\n")]), Some(700));
    }

    #[test]
    fn version_1_is_read_by_its_controller_and_its_no_limit_is_none() {
        let cgroup = ("/proc/self/cgroup", "5:cpu:/other\n4:memory:/pod\n");
        let (pod, root) =
            ("/sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes");
        let unlimited = (root, "9223372036854771712\n");
        assert_eq!(limit(&[cgroup, (pod, "800\n"), unlimited]), Some(800));
        assert_eq!(limit(&[cgroup, unlimited]), None);
        assert_eq!(limit(&[]), None);
    }

    #[test]
    fn the_soft_limit_on_open_files_is_raised_to_the_hard_one() {
        let mut lowered = getrlimit(Resource::Nofile);
        lowered.current = Some(1024.min(lowered.maximum.unwrap_or(u64::MAX)));
        setrlimit(Resource::Nofile, lowered).unwrap();
        raise_file_limit();
        let raised = getrlimit(Resource::Nofile);
        assert_eq!(raised.current, raised.maximum);
    }
}
