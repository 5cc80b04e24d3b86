//! Tasks that commands leave to the server that holds the messages: to erase some, or to set them aside.

use crate::{
    chat::Chat,
    message::RoomName,
    store::{
        erasure::{Asked, Eraser, FAREWELL, OPERATORS, Standing, Task, Tasks},
        error::StoreError,
        outage::Outages,
    },
    vital,
};
use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The pause between two checks.
const PAUSE: Duration = Duration::from_millis(500);

/// The same where several nodes check, and commands do most themselves.
const PAUSE_OF_SEVERAL: Duration = Duration::from_secs(3);

/// What can't be done during an outage.
const WORK: &str = "do what commands have asked for";

/// Starts the thread.
pub fn start(chat: &Arc<Chat>) -> io::Result<()> {
    let Some(tasks) = chat.tasks.clone() else { return Ok(()) };
    let chat = Arc::downgrade(chat);
    vital::spawn("tasks", move || {
        let outages = Outages::new("message log");
        while let Some(chat) = chat.upgrade() {
            vital::may_panic("tasks");
            match work_off(&chat, &*tasks) {
                Ok(()) => outages.worked(WORK),
                // It will be tried again.
                Err(error) => outages.failed(WORK, &error.source),
            }
            let pause = if chat.rooms.are_shared() { PAUSE_OF_SEVERAL } else { PAUSE };
            drop(chat);
            thread::sleep(pause);
        }
    })?;
    Ok(())
}

fn work_off(chat: &Chat, tasks: &dyn Tasks) -> Result<(), StoreError> {
    for Asked { id, task, since } in tasks.waiting()? {
        match &task {
            Task::Sender(_) if age(since) < FAREWELL => continue,
            // It must be done once, but other nodes look for tasks too. Commands do it themselves there.
            Task::SetAside(_) if chat.rooms.are_shared() => continue,
            Task::Room(room) | Task::SetAside(room) if !is_empty(chat, room) => continue,
            _ => {}
        }
        let submit = |entries| chat.rooms.submit_all(entries);
        let eraser = Eraser { log: &*chat.log, search: &*chat.search, submit: &submit, by: OPERATORS };
        let mut told = Instant::now();
        let mut noted = Ok(());
        let erased = eraser.run(&task, &mut |erased| {
            if told.elapsed() >= PAUSE {
                told = Instant::now();
                noted = tasks.note(id, Standing { erased, done: false });
            }
        })?;
        noted?;
        tasks.note(id, Standing { erased, done: true })?;
        match &task {
            // A room of the rooms door, whose end has a line already.
            Task::Room(room) if !room.is_monitor() => tracing::debug!(room = room.as_str(), "a deleted room is erased"),
            _ => tracing::info!(messages = erased, "what a command asked to be erased or set aside is"),
        }
    }
    Ok(())
}

/// Whether nobody is in the room, and all its messages are stored. The members of a removed monitor are being closed.
fn is_empty(chat: &Chat, name: &RoomName) -> bool {
    let Some(room) = chat.rooms.find(name) else { return true };
    room.count() == 0 && chat.rooms.settle(Some(&room), Instant::now() + PAUSE)
}

/// If the clock went back, that was long ago.
fn age(since: i64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    now.checked_sub(since.unsigned_abs()).map_or(FAREWELL, Duration::from_secs)
}
