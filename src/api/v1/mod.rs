//! `/api/v1`: the calls of backends, with a key. One file for each group of calls.
//!
//! Each call with a valid key leaves one line in the log: the key's name, the action, the target, and the outcome.

mod account_messages;
mod body;
mod call;
mod changes;
pub mod messages;
mod moderation;
mod mutes;
mod presence;
mod room_list;
pub mod rooms;
mod tokens;

use super::{
    bearer,
    route::{Endpoints, Route},
};
use crate::http::head::Method;

pub const ENDPOINTS: Endpoints = Endpoints {
    routes: &[
        Route::new(&[Method::Post], "/api/v1/tokens", tokens::create),
        Route::new(&[Method::Post], "/api/v1/rooms/:room/messages", messages::publish).at_once(),
        Route::new(&[Method::Get], "/api/v1/rooms/:room/messages", messages::list),
        Route::new(&[Method::Patch], "/api/v1/rooms/:room/messages/:id", changes::edit),
        Route::new(&[Method::Delete], "/api/v1/rooms/:room/messages/:id", changes::delete),
        Route::new(&[Method::Get], "/api/v1/rooms", room_list::list),
        Route::new(&[Method::Get], "/api/v1/rooms/:room/presence", presence::list),
        Route::new(&[Method::Put], "/api/v1/rooms/:room/mutes/:user", mutes::mute),
        Route::new(&[Method::Delete], "/api/v1/rooms/:room/mutes/:user", mutes::unmute),
        Route::new(&[Method::Post], "/api/v1/users/:user/disconnect", moderation::disconnect),
        Route::new(&[Method::Get], "/api/v1/users/:user/messages", account_messages::export),
        Route::new(&[Method::Delete], "/api/v1/users/:user/messages", account_messages::erase),
        Route::new(&[Method::Post], "/api/v1/notices", moderation::notify),
    ],
    refused: bearer::refused,
};
