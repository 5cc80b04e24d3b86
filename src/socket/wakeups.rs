//! The way in which the kernel wakes a thread that reads.

use preempt_rt::sched::{Pid, Scheduler, SchedulerParams, get_scheduler, set_scheduler};

/// Switches this thread between two kinds of wake-ups: when a patient thread is woken, it does not preempt a working
/// thread. Dropping this ends the patience.
///
/// With hundreds of busy small rooms, each message wakes a thread for a few microseconds. Threads that send, store and
/// deliver for many get more done if such a thread waits until their time slice ends.
#[derive(Default)]
pub struct Wakeups {
    /// Whether this has made the thread patient.
    patient: bool,
}

impl Wakeups {
    /// Makes the thread patient, or not. A patient thread waits for its turn (`SCHED_BATCH`, sched(7)); its share of
    /// the processor stays the same.
    pub fn patient(&mut self, patient: bool) {
        // If the operator started the server with another policy, that policy stays.
        if patient == self.patient || patient && !is_normal() {
            return;
        }
        self.patient = patient;
        let policy = if patient { Scheduler::SCHED_BATCH } else { Scheduler::SCHED_NORMAL };
        // Where that is forbidden, the server works as well, only with more effort.
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
