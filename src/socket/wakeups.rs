//! How the kernel wakes a thread that reads.

use preempt_rt::sched::{Pid, Scheduler, SchedulerParams, get_scheduler, set_scheduler};

/// Whether this thread, when it is woken, may put off another that is at work. It may again when this is dropped.
///
/// Where hundreds of small rooms are busy, each message wakes a thread for some microseconds. Those that send, store
/// and deliver for many get more done if such a thread lets them go on for their time slice.
#[derive(Default)]
pub struct Wakeups {
    /// This has made it so.
    patient: bool,
}

impl Wakeups {
    /// A patient thread waits for its turn (`SCHED_BATCH`, sched(7)). Its share of the processor stays the same.
    pub fn patient(&mut self, patient: bool) {
        // Another policy was chosen by whoever started the server, and stays.
        if patient == self.patient || patient && !is_normal() {
            return;
        }
        self.patient = patient;
        let policy = if patient { Scheduler::SCHED_BATCH } else { Scheduler::SCHED_NORMAL };
        // Where that is forbidden all goes on, only with more work.
        let _ = set_scheduler(Pid::current_thread(), policy, SchedulerParams { priority: 0 });
    }
}

fn is_normal() -> bool {
    matches!(get_scheduler(Pid::current_thread()), Ok(Scheduler::SCHED_NORMAL))
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.patient(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(policy: Scheduler) {
        set_scheduler(Pid::current_thread(), policy, SchedulerParams { priority: 0 }).unwrap();
    }

    fn policy() -> Scheduler {
        get_scheduler(Pid::current_thread()).unwrap()
    }

    #[test]
    fn a_thread_is_patient_until_it_is_told_otherwise_or_its_connection_ends() {
        set(Scheduler::SCHED_NORMAL);
        let mut wakeups = Wakeups::default();
        wakeups.patient(true);
        assert_eq!(policy(), Scheduler::SCHED_BATCH);
        wakeups.patient(false);
        assert_eq!(policy(), Scheduler::SCHED_NORMAL);
        wakeups.patient(true);
        drop(wakeups);
        assert_eq!(policy(), Scheduler::SCHED_NORMAL);
    }

    #[test]
    fn a_policy_that_was_chosen_for_the_server_stays() {
        set(Scheduler::SCHED_BATCH);
        let mut wakeups = Wakeups::default();
        wakeups.patient(true);
        wakeups.patient(false);
        drop(wakeups);
        assert_eq!(policy(), Scheduler::SCHED_BATCH);
    }
}
