//! The machine's conditions, read from the system.

use jiff::Zoned;

use super::{Conditions, Power, Rules, idle, power};

/// Where conditions come from.
pub trait Readings: Send + 'static {
    /// Reads what the rules depend on; what they do not depend on may be anything.
    fn read(&mut self, rules: &Rules) -> impl Future<Output = Conditions> + Send;

    /// Local time.
    fn now(&self) -> Zoned {
        Zoned::now()
    }
}

/// This machine.
#[derive(Debug, Default)]
pub struct Machine {
    #[cfg(target_os = "linux")]
    logind: idle::Logind,
}

impl Readings for Machine {
    async fn read(&mut self, rules: &Rules) -> Conditions {
        let power = if rules.on_battery {
            Power::Mains
        } else {
            power().await
        };
        let idle = if rules.idle.is_zero() {
            None
        } else {
            self.idle().await
        };
        Conditions { power, idle }
    }
}

/// Some batteries answer slowly, and the kernel makes the reader wait.
async fn power() -> Power {
    let read = || {
        #[cfg(target_os = "linux")]
        return power::read(std::path::Path::new(power::SUPPLIES));
        #[cfg(target_os = "macos")]
        return power::read();
    };
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or(Power::Mains)
}

impl Machine {
    #[cfg(target_os = "linux")]
    async fn idle(&mut self) -> Option<std::time::Duration> {
        let answer = self.logind.idle(std::path::Path::new(idle::BUS)).await;
        answer
            .inspect_err(|error| tracing::debug!("no word from logind: {error}"))
            .ok()
    }

    #[cfg(target_os = "macos")]
    async fn idle(&mut self) -> Option<std::time::Duration> {
        idle::read()
    }
}
