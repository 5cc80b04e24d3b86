//! `GET /chats`: the list of rooms, page by page, as JSON or for a browser.

use super::{chats_page, route::Params};
use crate::{
    chat::{Chat, ListKey},
    door::chitchat::room::Shown,
    http::{reply::Reply, request::Request},
    refusal::{Reason, Refusal},
    room::names::User,
    store::chat_rooms::Access,
};
use std::{collections::HashMap, sync::Arc};

/// Clients that ask for the same page at the same time share one answer, which is begun after each of them has asked.
pub fn list(chat: &Arc<Chat>, request: &Request, _: &Params<'_>) -> Result<Reply, Refusal> {
    let page = Page::asked(request, chat.config.rooms.listed)?;
    let key = (request.segments.join("/"), page.after, page.most, chats_page::preferred(request));
    chat.lists.get(&key, || made(chat, &key))
}

fn made(chat: &Chat, (path, after, most, as_page): &ListKey) -> Result<Reply, Refusal> {
    let mut rooms = chat.chat_rooms.list(*after, most + 1)?;
    let more = rooms.len() > *most;
    rooms.truncate(*most);
    let public: Vec<_> = rooms.iter().filter(|room| room.fields.access == Access::Public).map(|room| room.id).collect();
    let mut users: HashMap<i64, Vec<User>> = public.iter().copied().zip(chat.names.users(&public)).collect();
    let shown: Vec<_> = rooms.iter().map(|room| Shown::new(room, users.remove(&room.id).unwrap_or_default())).collect();
    let reply = if *as_page { chats_page::reply(&shown) } else { Reply::json(200, &shown) };
    let reply = reply.with("Vary", "Accept");
    Ok(match rooms.last() {
        // The answer is the list that clients have always had; the header leads to the next page (RFC 8288).
        Some(last) if more => reply.with("Link", format!("</{path}?after={}&limit={most}>; rel=\"next\"", last.id)),
        _ => reply,
    })
}

/// The requested part of the list.
struct Page {
    after: i64,
    most: usize,
}

impl Page {
    fn asked(request: &Request, most: usize) -> Result<Page, Refusal> {
        let number = |name: &'static str| match request.query_values(name)?.first() {
            None => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(number) if number >= 0 => Ok(Some(number)),
                _ => Err(Refusal::new(Reason::BadRequest, format!("`{name}` must be a whole number."))),
            },
        };
        let limit = number("limit")?.map_or(most, |limit| usize::try_from(limit).unwrap_or(most).clamp(1, most));
        Ok(Page { after: number("after")?.unwrap_or(0), most: limit })
    }
}
