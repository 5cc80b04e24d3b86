//! `GET /api/v1/rooms/:room/presence`: who is in a room, on every node.

use super::{call::Call, rooms};
use crate::{
    api::route::Params,
    auth::api_keys::Scope,
    chat::Chat,
    http::{reply::Reply, request::Request},
    refusal::Refusal,
};
use serde::Serialize;
use std::sync::Arc;

/// For how many accounts names are read at a time.
const NAMES: usize = 500;

pub fn list(chat: &Arc<Chat>, request: &Request, params: &Params<'_>) -> Result<Reply, Refusal> {
    Call { chat, request, scope: Scope::Read, what: "read presence" }.answer(|_, target| {
        target.push_str(params.get("room"));
        let room = rooms::find(chat, params.get("room"))?;
        // Users who only listen at the rooms door have no name.
        let here: Vec<_> =
            chat.rooms.connections(&room)?.into_iter().filter(|present| !present.person.user.is_empty()).collect();
        let mut users = Vec::with_capacity(here.len());
        for some in here.chunks(NAMES) {
            let emails: Vec<&str> = some.iter().map(|present| &*present.person.user).collect();
            for (present, name) in some.iter().zip(chat.accounts.display_names(&emails)?) {
                let (user, connections) = (&*present.person.user, present.sockets);
                users.push(Listed { user, name: name.unwrap_or_else(|| user.to_owned()), connections });
            }
        }
        Ok(Reply::json(200, &Presence { users }))
    })
}

#[derive(Serialize)]
struct Presence<'a> {
    users: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    user: &'a str,
    /// The account's name.
    name: String,
    connections: usize,
}
