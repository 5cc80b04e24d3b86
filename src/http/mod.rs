//! Plain HTTP: the gateway to tiny_http, the router, one file a group of endpoints.
//!
//! A new group of endpoints is one file with an `ENDPOINTS` table, named in [`router`].

mod assets;
pub mod backend;
pub mod bearer;
pub mod body;
pub mod chats;
mod chats_page;
pub mod cors;
pub mod credentials;
pub mod gateway;
pub mod handler;
pub mod health;
pub mod home;
pub mod limits;
pub mod login;
pub mod reply;
pub mod request;
pub mod room_limits;
pub mod router;
pub mod stream;
pub mod ticket;
