//! What the system says about this process, under the names of all Prometheus exporters; read at each scrape.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};
use std::{
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

#[derive(Debug)]
pub struct Process {
    /// In Unix seconds.
    started: f64,
}

impl Process {
    /// To be called when the process starts.
    pub fn new() -> Process {
        Process { started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()) }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // If the system hides something, nothing is shown rather than zeros.
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().and_then(|text| Stat::parse(&text)) {
            let cpu = ConstCounter::new(stat.cpu_ticks as f64 / clock_ticks_per_second() as f64);
            let help = "Processor time that was used.";
            let descriptor = encoder.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?;
            cpu.encode(descriptor)?;
            let resident = stat.resident_pages * page_size() as u64;
            gauge(&mut encoder, "process_resident_memory", "Memory in use.", Some(Unit::Bytes), resident)?;
            let help = "Addresses in use, most of them without memory.";
            gauge(&mut encoder, "process_virtual_memory", help, Some(Unit::Bytes), stat.virtual_bytes)?;
            gauge(&mut encoder, "process_threads", "Threads, one a connection and some more.", None, stat.threads)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is for reading the directory.
            let open = open.count().saturating_sub(1) as u64;
            gauge(&mut encoder, "process_open_fds", "Open files, sockets among them.", None, open)?;
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            gauge(&mut encoder, "process_max_fds", "Files that may be open at a time.", None, most)?;
        }
        gauge(&mut encoder, "process_start_time", "When it started (Unix time).", Some(Unit::Seconds), self.started)
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<Unit>,
    value: impl EncodeGaugeValue + fmt::Debug + Send + Sync + 'static,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), gauge.metric_type())?)
}

/// The fields of `/proc/self/stat` that are used (proc_pid_stat(5)).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The name is in parentheses, and may contain some; the field behind it is the third.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_found_behind_whatever_name() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 9 0 0 0 30 12 0 0 20 0 5 0 100 8192 3 18446744073709551615 1";
        let stat = Stat { cpu_ticks: 42, threads: 5, virtual_bytes: 8192, resident_pages: 3 };
        assert_eq!(Stat::parse(text), Some(stat));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_threads_and_memory() {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").unwrap()).unwrap();
        assert!(stat.threads >= 1 && stat.resident_pages > 0 && stat.virtual_bytes > 0, "{stat:?}");
    }
}
