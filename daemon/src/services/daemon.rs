//! DaemonService: how the daemon is, and its end.

use std::{path::PathBuf, sync::Arc, time::Instant};

use imgd_proto::v1::{self, daemon_service_server::DaemonService};
use tokio::sync::OnceCell;
use tonic::{Request, Response, Status};

use super::sandbox;
use crate::{
    config::DeviceSetting,
    machine,
    sandbox::Processes,
    scheduler::{Ending, Scheduler},
};

/// What the daemon says of itself that does not change.
#[derive(Debug)]
pub struct Identity {
    /// When it started.
    pub started: Instant,
    /// How it was started.
    pub started_by: v1::StartedBy,
    /// Which build it is.
    pub build_id: String,
    /// The device setting in force.
    pub device: DeviceSetting,
    /// Where the socket is.
    pub socket: PathBuf,
    /// Requests that may wait at once.
    pub queue_capacity: usize,
    /// Requests of one client that may wait at once.
    pub capacity_per_client: usize,
    /// What it can do beyond the base contract.
    pub features: Vec<String>,
}

/// The service.
#[derive(Debug, Clone)]
pub struct DaemonApi {
    /// Does the work.
    pub scheduler: Scheduler,
    /// Asks the daemon to end.
    pub end: tokio::sync::mpsc::Sender<Ending>,
    /// What it says of itself.
    pub identity: Arc<Identity>,
    /// The machine's devices, looked at once.
    pub devices: Arc<OnceCell<Vec<v1::Device>>>,
    /// Whose sandboxes are told of.
    pub processes: Processes,
}

#[tonic::async_trait]
impl DaemonService for DaemonApi {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let snapshot = self.scheduler.snapshot().await?;
        let library = self.scheduler.statistics().await?;
        let identity = &self.identity;
        let mut devices = self
            .devices
            .get_or_init(async || machine::devices(None))
            .await
            .clone();
        if let (Some(cpu), Some(threads)) = (devices.first_mut(), snapshot.worker_threads) {
            cpu.threads = threads;
        }
        let worker = snapshot.worker_hardening.zip(snapshot.worker_pid);
        let found = self.processes.look().await;
        let (total_bytes, available_bytes) = machine::memory_bytes();
        Ok(Response::new(v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: imgd_proto::PROTOCOL,
            build_id: identity.build_id.clone(),
            features: identity.features.clone(),
            pid: std::process::id(),
            uptime: prost_types::Duration::try_from(identity.started.elapsed()).ok(),
            started_by: identity.started_by.into(),
            devices,
            memory: Some(v1::Memory {
                total_bytes,
                available_bytes,
                supervisor_bytes: machine::resident_bytes(std::process::id()),
                worker_bytes: snapshot.worker_pid.map_or(0, machine::resident_bytes),
            }),
            models: snapshot.models,
            queue: Some(v1::Queue {
                waiting: snapshot.waiting,
                running: snapshot.running,
                capacity: u32::try_from(identity.queue_capacity).unwrap_or(u32::MAX),
                paused: snapshot.paused,
                capacity_per_client: u32::try_from(identity.capacity_per_client)
                    .unwrap_or(u32::MAX),
                background_blocked: snapshot.background_blocked,
            }),
            sandbox: sandbox::layers(&identity.socket, &found, worker.as_ref()),
            draining: snapshot.is_draining,
            device_setting: identity.device.name().to_owned(),
            library: Some(library),
        }))
    }

    async fn shutdown(
        &self,
        request: Request<v1::ShutdownRequest>,
    ) -> Result<Response<v1::ShutdownResponse>, Status> {
        let request = request.into_inner();
        if request.if_idle {
            self.scheduler.end(Ending::IfIdle).await?;
        }
        let ending = if request.force {
            Ending::Now
        } else {
            Ending::Drain
        };
        if self.end.try_send(ending).is_err() {
            tracing::debug!("the daemon is ending already");
        }
        Ok(Response::new(v1::ShutdownResponse {}))
    }
}
