//! Notices that nobody reads standard output any more, also while there is nothing to write: a reader in a pipe (`| head -1`) must not live on
//! until the next record.

use std::fs::File;
use std::os::fd::AsFd;

use tokio::io::Interest;
use tokio::net::unix::pipe::Sender;

/// Returns once the other end of this pipe, socket or terminal has been closed; never for a file, which has no other end.
pub(crate) async fn closed(output: impl AsFd) {
    // a duplicate that is only watched: unchecked, because a check would make the caller's own end non-blocking
    let watched = output.as_fd().try_clone_to_owned().map(File::from).and_then(Sender::from_file_unchecked);
    if let Ok(watched) = watched
        && watched.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::closed;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_closed_pipe_is_seen_without_a_write_and_an_open_one_is_waited_on() {
        let (reader, writer) = std::io::pipe().unwrap();
        let moment = Duration::from_millis(50);
        run(async {
            assert!(tokio::time::timeout(moment, closed(&writer)).await.is_err());
            drop(reader);
            assert!(tokio::time::timeout(Duration::from_secs(10), closed(&writer)).await.is_ok());
        });
    }

    #[test]
    fn a_file_is_never_closed() {
        let file = tempfile::tempfile().unwrap();
        assert!(run(async { tokio::time::timeout(Duration::from_millis(50), closed(&file)).await }).is_err());
    }
}
