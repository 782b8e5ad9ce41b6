//! Connections whose task lets other tasks run first.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use deadpool_postgres::Connect;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Error, Socket};

use crate::postgres::{Session, SslMode};

/// Opens sessions whose task, when woken, waits behind all runnable tasks.
///
/// Tokio runs a task next that was woken by another. A connection's task would then send each
/// statement separately, although the tasks behind it are about to send more.
pub(super) struct Gathering<T> {
    pub(super) session: Session,
    pub(super) mode: SslMode,
    pub(super) tls: T,
}

impl<T> Connect for Gathering<T>
where
    T: MakeTlsConnect<Socket> + Clone + Sync + Send + 'static,
    T::Stream: Sync + Send,
    T::TlsConnect: Sync + Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), Error>> {
        let opening = self.session.clone();
        let (mode, tls, config) = (self.mode, self.tls.clone(), config.clone());
        Box::pin(async move {
            let (client, connection) = opening.open(&config, mode, tls).await?;
            let driver = async move {
                if let Err(error) = in_turn(connection).await {
                    tracing::debug!(%error, "a database connection has ended");
                }
            };
            Ok((client, tokio::spawn(driver)))
        })
    }
}

/// Polls a future only in every second turn of its task; the first one requests the second.
async fn in_turn<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut has_waited = false;
    poll_fn(|cx| {
        has_waited = !has_waited;
        if has_waited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        future.as_mut().poll(cx)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn what_is_said_meanwhile_is_heard_at_once() {
        let (said, woken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (heard, by) = (Arc::clone(&said), Arc::clone(&woken));
        let listener = tokio::spawn(in_turn(async move {
            by.notified().await;
            heard.load(Ordering::Relaxed)
        }));
        let speak = async || {
            said.fetch_add(1, Ordering::Relaxed);
            woken.notify_one();
        };
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        futures_util::future::join_all((0..10).map(|_| speak())).await;
        assert_eq!(listener.await.unwrap(), 10);
    }
}
