//! How long nobody has touched the machine.

#[cfg(target_os = "linux")]
pub(super) use logind::{BUS, Logind};

/// Linux: what logind knows from all sessions of the machine, graphical, on a terminal or from afar.
#[cfg(target_os = "linux")]
mod logind {
    use std::{io, path::Path, time::Duration};

    use tokio::{net::UnixStream, time};
    use zbus::{Connection, OwnedVariant};

    use crate::sys;

    /// Where the system's bus listens. Named here rather than taken from the environment, which could name a network.
    pub(in crate::courtesy) const BUS: &str = "/run/dbus/system_bus_socket";

    /// A bus that does not answer for this long does not answer.
    const PATIENCE: Duration = Duration::from_secs(2);

    /// A connection to logind, made when it is first asked and again after it failed.
    #[derive(Debug, Default)]
    pub(in crate::courtesy) struct Logind {
        connection: Option<Connection>,
    }

    impl Logind {
        /// How long no session has been used. Fails where there is no bus or no logind.
        pub(in crate::courtesy) async fn idle(&mut self, bus: &Path) -> zbus::Result<Duration> {
            let asked = time::timeout(PATIENCE, self.ask(bus)).await;
            let answer = asked
                .unwrap_or_else(|_elapsed| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
            if answer.is_err() {
                self.connection = None;
            }
            answer
        }

        async fn ask(&mut self, bus: &Path) -> zbus::Result<Duration> {
            let connection = match self.connection.take() {
                Some(connection) => connection,
                None => connect(bus).await?,
            };
            let answer = idle(&connection).await;
            self.connection = Some(connection);
            answer
        }
    }

    async fn connect(bus: &Path) -> zbus::Result<Connection> {
        let stream = UnixStream::connect(bus).await?.into_std()?;
        zbus::connection::Builder::unix_stream(stream).build().await
    }

    /// Asks logind. Properties of `org.freedesktop.login1.Manager`: `IdleHint` says that no session is used and that no
    /// program keeps the machine awake, `IdleSinceHintMonotonic` since when, in microseconds of the monotonic clock.
    async fn idle(connection: &Connection) -> zbus::Result<Duration> {
        if !bool::try_from(property(connection, "IdleHint").await?)? {
            return Ok(Duration::ZERO);
        }
        let since = u64::try_from(property(connection, "IdleSinceHintMonotonic").await?)?;
        Ok(sys::monotonic().saturating_sub(Duration::from_micros(since)))
    }

    async fn property(connection: &Connection, name: &str) -> zbus::Result<OwnedVariant> {
        let answer = connection
            .call_method(
                Some("org.freedesktop.login1"),
                "/org/freedesktop/login1",
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &("org.freedesktop.login1.Manager", name),
            )
            .await?;
        answer.body().deserialize()
    }

    #[cfg(test)]
    mod tests {
        use std::{path::Path, time::Duration};

        use zbus::{Connection, connection::Builder};

        use super::{Logind, idle};
        use crate::sys;

        /// Stands in for logind.
        struct Manager {
            is_idle: bool,
            since_micros: u64,
        }

        #[zbus::interface(name = "org.freedesktop.login1.Manager")]
        impl Manager {
            #[zbus(property)]
            fn idle_hint(&self) -> bool {
                self.is_idle
            }

            #[zbus(property)]
            fn idle_since_hint_monotonic(&self) -> u64 {
                self.since_micros
            }
        }

        /// The two ends of a conversation with a stand-in.
        async fn talking_to(manager: Manager) -> (Connection, Connection) {
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            let far = Builder::unix_stream(far)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at("/org/freedesktop/login1", manager)
                .build();
            let near = Builder::unix_stream(near).p2p().build();
            let (near, far) = tokio::join!(near, far);
            (near.unwrap(), far.unwrap())
        }

        #[tokio::test]
        async fn an_idle_machine_says_since_when() {
            let since_micros = u64::try_from(sys::monotonic().as_micros() / 2).unwrap();
            let (near, _far) = talking_to(Manager {
                is_idle: true,
                since_micros,
            })
            .await;
            let answer = idle(&near).await.unwrap();
            let expected = sys::monotonic() - Duration::from_micros(since_micros);
            assert!(
                answer <= expected && expected - answer < Duration::from_secs(5),
                "{answer:?}"
            );
        }

        #[tokio::test]
        async fn a_machine_in_use_is_not_idle_however_long_it_has_been_in_use() {
            let (near, _far) = talking_to(Manager {
                is_idle: false,
                since_micros: 1,
            })
            .await;
            assert_eq!(idle(&near).await.unwrap(), Duration::ZERO);
        }

        /// Stands in for the bus itself, which gives everyone a name first.
        struct Bus;

        #[zbus::interface(name = "org.freedesktop.DBus")]
        impl Bus {
            fn hello(&self) -> &'static str {
                ":1.1"
            }
        }

        #[tokio::test]
        async fn logind_is_asked_over_the_bus_again_and_again() {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join("bus");
            let listener = tokio::net::UnixListener::bind(&place).unwrap();
            let serve = async move {
                let (stream, _) = listener.accept().await.unwrap();
                let manager = Manager {
                    is_idle: true,
                    since_micros: 0,
                };
                let bus = Builder::unix_stream(stream.into_std().unwrap())
                    .server(zbus::Guid::generate())
                    .p2p()
                    .serve_at("/org/freedesktop/DBus", Bus)
                    .serve_at("/org/freedesktop/login1", manager)
                    .build();
                let _bus = bus.await.unwrap();
                std::future::pending::<()>().await;
            };
            let served = tokio::spawn(serve);
            let mut logind = Logind::default();
            for _ in 0..2 {
                let idle = logind.idle(&place).await.unwrap();
                assert!(idle <= sys::monotonic() && idle > Duration::ZERO);
            }
            served.abort();
        }

        #[tokio::test]
        async fn without_a_bus_nobody_can_tell() {
            let mut logind = Logind::default();
            assert!(logind.idle(Path::new("/nonexistent/bus")).await.is_err());
        }
    }
}

/// macOS: the time since the last event of any input device.
#[cfg(target_os = "macos")]
pub(super) fn read() -> Option<std::time::Duration> {
    use objc2_core_graphics::{CGEventSource, CGEventSourceStateID, CGEventType};
    // `kCGAnyInputEventType` of CGEventTypes.h.
    const ANY_INPUT: CGEventType = CGEventType(u32::MAX);
    let seconds = CGEventSource::seconds_since_last_event_type(
        CGEventSourceStateID::HIDSystemState,
        ANY_INPUT,
    );
    std::time::Duration::try_from_secs_f64(seconds).ok()
}
