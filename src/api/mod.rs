//! Plain HTTP: the router, and one file for each group of endpoints.
//!
//! A new group of endpoints is one file with an `ENDPOINTS` table, named in [`router`].

pub mod assets;
pub mod bearer;
pub mod chats;
mod chats_events;
pub mod chats_list;
pub mod chats_page;
mod chats_token;
pub mod cors;
pub mod credentials;
pub mod health;
pub mod home;
pub mod hooks;
pub mod idle_rooms;
pub mod login;
pub mod room_end;
pub mod rooms;
pub mod route;
pub mod router;
pub mod session;
pub mod small_page;
pub mod stream;
pub mod tasks;
pub mod ticket;
pub mod v1;
