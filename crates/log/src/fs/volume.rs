//! Whether one `syncfs` may stand for a sync of each file.
//!
//! Invariant: only where it is known to wait until the disk has everything and to report what could not be written. Everywhere else files are synced
//! one by one, which costs more and is never wrong.

/// Before this version of Linux `syncfs` told nothing of write-back that had failed (commit 735e4ae5ba28, 5.8).
const REPORTS_SINCE: (u32, u32) = (5, 8);
/// `f_type` of file systems whose `sync_fs` waits for the disk: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs. Not FUSE, of which most never tell their server, and
/// not those of a network, which may leave it to another machine (`linux/magic.h`).
const WAITS: [i64; 5] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x0102_1994];

/// Whether it may, by the kernel's release (`/proc/sys/kernel/osrelease`) and the file system's type (`statfs`).
pub(super) fn syncs_as_a_whole(release: &str, kind: i64) -> bool {
    version(release).is_some_and(|version| version >= REPORTS_SINCE) && WAITS.contains(&kind)
}

/// `6.18.44-fc-v595`: the first two numbers.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.trim().split('.');
    let number = |part: &str| part.split(|one: char| !one.is_ascii_digit()).next()?.parse().ok();
    Some((number(parts.next()?)?, number(parts.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::syncs_as_a_whole;

    #[test]
    fn one_sync_stands_for_all_where_it_waits_and_reports() {
        const EXT4: i64 = 0xEF53;
        const FUSE: i64 = 0x6573_5546;
        const NFS: i64 = 0x6969;
        for release in ["5.8.0", "5.10", "6.18.44-fc-v595\n", "10.0.0"] {
            assert!(syncs_as_a_whole(release, EXT4), "{release}");
        }
        for release in ["5.7.19", "4.19.0-27-amd64", "", "linux", "5", "5.x"] {
            assert!(!syncs_as_a_whole(release, EXT4), "{release}");
        }
        assert!(!syncs_as_a_whole("6.1.0", FUSE) && !syncs_as_a_whole("6.1.0", NFS));
    }
}
