//! From the trait to what the component exports.

use std::marker::PhantomData;
use std::sync::Once;
use std::time::Duration;

use crate::bindings::bkhost::host as raw;
use crate::bindings::exports::bkhost::driver::{diagnose, logs, node, scale};
use crate::{
    ByteStream, Config, Connection, DialRequest, Driver, DriverInfo, Finding, Instance, LogRequest, Loss,
    Pair, Removal, Status, Step, Worker,
};
use raw::types::Error;

type Answer<T> = Result<T, Error>;

/// Exports a driver.
pub struct Adapter<D>(PhantomData<D>);

/// A node as the component model holds it.
pub struct Opened<D> {
    driver: D,
    typed_endpoint: String,
}

impl<D: Driver> node::Guest for Adapter<D> {
    type Node = Opened<D>;

    fn describe() -> node::DriverInfo {
        report_panics();
        describe(D::describe())
    }
}

impl<D: Driver> node::GuestNode for Opened<D> {
    fn open(config: raw::config::NodeConfig) -> Answer<node::Node> {
        report_panics();
        let config = Config::new(config);
        let typed_endpoint = config.endpoint();
        let driver = D::open(config)?;
        Ok(node::Node::new(Self {
            driver,
            typed_endpoint,
        }))
    }

    fn endpoint(&self) -> Answer<String> {
        Ok(self.driver.endpoint(&self.typed_endpoint)?)
    }

    fn status(&self) -> Answer<node::Status> {
        Ok(status(self.driver.status()?))
    }

    fn boot(&self, step: &raw::steps::Step) -> Answer<()> {
        Ok(self.driver.boot(&Step::lent(step))?)
    }

    fn instances(&self) -> Answer<Vec<node::Instance>> {
        Ok(self.driver.instances()?.into_iter().map(instance).collect())
    }

    fn placement(&self) -> Vec<raw::types::Pair> {
        pairs(self.driver.placement())
    }

    fn dial(
        &self,
        instance: String,
        request: &raw::requests::DialRequest,
    ) -> Answer<raw::connections::Connection> {
        let request = DialRequest {
            step: Step::owned(request.step()),
            purpose: request.purpose(),
        };
        Ok(self.driver.dial(&instance, &request).map(Connection::into_raw)?)
    }

    fn abilities(&self, workers: Vec<raw::requests::Worker>) -> Vec<raw::types::Pair> {
        let workers: Vec<Worker> = workers.iter().map(worker).collect();
        pairs(self.driver.abilities(&workers))
    }

    fn stop(&self, step: &raw::steps::Step) -> Answer<()> {
        Ok(self.driver.stop(&Step::lent(step))?)
    }

    fn remove(&self, step: &raw::steps::Step, removal: &raw::requests::Removal) -> Answer<()> {
        let removal = Removal {
            keep_state: removal.keep_state(),
            keep_daemon: removal.keep_daemon(),
        };
        Ok(self.driver.remove(&Step::lent(step), &removal)?)
    }
}

impl<D: Driver> diagnose::Guest for Adapter<D> {
    fn explain(node: node::NodeBorrow<'_>, loss: &raw::requests::Loss) -> Answer<diagnose::Finding> {
        let loss = Loss {
            instance: loss.instance(),
            opened_at: Duration::from_nanos(loss.opened_at()),
            lost_at: Duration::from_nanos(loss.lost_at()),
            how: loss.how(),
            exit_status: loss.exit_status(),
            stderr_tail: loss.stderr_tail(),
            step: Step::owned(loss.step()),
        };
        Ok(driver::<D>(&node).explain(&loss).map(finding)?)
    }
}

impl<D: Driver> logs::Guest for Adapter<D> {
    fn open(
        node: node::NodeBorrow<'_>,
        instance: String,
        request: &raw::requests::LogRequest,
    ) -> Answer<raw::streams::ByteStream> {
        let request = LogRequest {
            follow: request.follow(),
            tail: request.tail(),
        };
        Ok(driver::<D>(&node)
            .open_log(&instance, &request)
            .map(ByteStream::into_raw)?)
    }
}

impl<D: Driver> scale::Guest for Adapter<D> {
    fn wanted(node: node::NodeBorrow<'_>) -> Answer<u32> {
        Ok(driver::<D>(&node).wanted_size()?)
    }

    fn resize(node: node::NodeBorrow<'_>, size: u32, step: &raw::steps::Step) -> Answer<()> {
        Ok(driver::<D>(&node).resize(size, &Step::lent(step))?)
    }

    fn drain(node: node::NodeBorrow<'_>, instance: String, step: &raw::steps::Step) -> Answer<()> {
        Ok(driver::<D>(&node).drain(&instance, &Step::lent(step))?)
    }

    fn upgrade(node: node::NodeBorrow<'_>, step: &raw::steps::Step) -> Answer<()> {
        Ok(driver::<D>(&node).upgrade(&Step::lent(step))?)
    }
}

/// Sends the message of a panic to the host before the trap that follows it.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| raw::log::panicked(&panic.to_string())));
    });
}

fn driver<'a, D: Driver>(node: &node::NodeBorrow<'a>) -> &'a D {
    &node.get::<Opened<D>>().driver
}

fn describe(info: DriverInfo) -> node::DriverInfo {
    let options = info.options.into_iter().map(|option| node::OptionInfo {
        name: option.name,
        kind: option.kind,
        default: option.default,
        help: option.help,
    });
    node::DriverInfo {
        summary: info.summary,
        options: options.collect(),
        endpoint: node::EndpointInfo {
            kind: info.endpoint.kind,
            schemes: info.endpoint.schemes,
            variable: info.endpoint.variable,
        },
        optional: info.optional,
        extra: pairs(info.extra),
    }
}

fn status(status: Status) -> node::Status {
    node::Status {
        state: status.state,
        detail: status.detail,
        attributes: pairs(status.attributes),
    }
}

fn instance(instance: Instance) -> node::Instance {
    node::Instance {
        id: instance.id,
        state: instance.state,
        labels: pairs(instance.labels),
    }
}

fn worker(worker: &raw::requests::Worker) -> Worker {
    let labels = worker.labels().into_iter();
    Worker {
        id: worker.id(),
        labels: labels.map(|pair| (pair.key, pair.value)).collect(),
        platforms: worker.platforms(),
    }
}

fn finding(finding: Finding) -> diagnose::Finding {
    diagnose::Finding {
        word: finding.word,
        message: finding.message,
        hint: finding.hint,
        details: pairs(finding.details),
    }
}

fn pairs(list: Vec<Pair>) -> Vec<raw::types::Pair> {
    list.into_iter()
        .map(|(key, value)| raw::types::Pair { key, value })
        .collect()
}
