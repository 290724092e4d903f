//! `/metrics`: how the services are and what they use, for Prometheus and whatever else reads OpenMetrics.

use std::sync::atomic::AtomicU64;

use http_types::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tide::Response;

use super::super::call::Call;
use super::super::respond::Head;
use super::outcome::told;
use crate::deploys::{Deployment, DeploymentState};
use crate::names::ServiceName;
use crate::problem::{Code, Problem};
use crate::services::figures::Figures;
use crate::services::status::{Condition, Status};

/// OpenMetrics 1.0, "Protocol Negotiation".
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, String); 1];
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter<f64, AtomicU64>>;

/// What is told of each service; what the host doesn't count is left out. It is made anew for each look, so that nothing
/// of a service that is gone stays.
#[derive(Default)]
struct Metrics {
    running: Gauges,
    healthy: Gauges,
    release: Gauges,
    since: Gauges,
    restarts: Counters,
    cpu: Counters,
    memory: Gauges,
    processes: Gauges,
    failed: Gauges,
}

impl Metrics {
    fn registry(&self) -> Registry {
        let mut all = Registry::with_prefix("podkeeper");
        all.register("build", "The agent", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let mut add = |name: &str, help: &str, gauges: &Gauges| all.register(name, help, gauges.clone());
        add("service_running", "Whether it runs", &self.running);
        add("service_healthy", "Whether its health check passes, where it has one", &self.healthy);
        add("service_release", "The release with the traffic", &self.release);
        add("service_processes", "Its processes and threads", &self.processes);
        add("service_last_deployment_failed", "Whether its newest deployment failed, once it has ended", &self.failed);
        let mut add = |name: &str, help: &str, unit: Unit, gauges: &Gauges| {
            all.register_with_unit(name, help, unit, gauges.clone());
        };
        add("service_state_since_timestamp", "Since when its unit is as it is", Unit::Seconds, &self.since);
        add("service_memory", "The memory that it uses", Unit::Bytes, &self.memory);
        all.register("service_restarts", "How often systemd has started it again by itself", self.restarts.clone());
        all.register_with_unit(
            "service_cpu",
            "The CPU time that its release has used",
            Unit::Seconds,
            self.cpu.clone(),
        );
        all
    }

    fn add(&self, name: &ServiceName, status: &Status, figures: &Figures) {
        let service = [("service", name.to_string())];
        let set = |gauges: &Gauges, value: Option<f64>| {
            value.map(|value| gauges.get_or_create(&service).set(value));
        };
        let count = |counters: &Counters, value: Option<f64>| {
            value.map(|value| counters.get_or_create(&service).inc_by(value));
        };
        set(&self.running, Some(f64::from(status.condition == Condition::Running)));
        set(&self.healthy, status.health.map(f64::from));
        set(&self.release, status.release.map(|release| f64::from(release.0)));
        set(&self.since, status.since.map(|since| since.as_duration().as_secs_f64()));
        count(&self.restarts, Some(f64::from(status.restarts)));
        count(&self.cpu, figures.cpu_time.map(|time| time.as_secs_f64()));
        set(&self.memory, figures.memory_bytes.map(|bytes| bytes as f64));
        set(&self.processes, figures.pids.map(|pids| pids as f64));
    }

    fn add_last(&self, deployment: &Deployment) {
        if deployment.state.is_final() {
            let failed = f64::from(deployment.state == DeploymentState::Failed);
            self.failed.get_or_create(&[("service", deployment.service.to_string())]).set(failed);
        }
    }
}

pub async fn show(call: Call) -> Result<Response, Problem> {
    let services = call.state().services();
    let metrics = Metrics::default();
    for (name, (status, figures)) in services.status().await.map_err(told)? {
        if call.sees(&name) {
            metrics.add(&name, &status, &figures);
        }
    }
    for deployment in services.last_deployments().await.map_err(told)?.values() {
        if call.sees(&deployment.service) {
            metrics.add_last(deployment);
        }
    }
    let mut text = String::new();
    encode(&mut text, &metrics.registry()).map_err(|_| Problem::new(Code::Internal, "the metrics can't be written"))?;
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(text);
    response.set_header("content-type", OPEN_METRICS);
    response.set_header("cache-control", "no-store");
    Ok(response)
}
