//! The parts of the crate that benches and integration tests use, besides [`run`](crate::run) and
//! [`fuzzing`](crate::fuzzing). Everything else is private, so that the compiler finds what is unused.

/// What documents are compared with: doors, endpoints, settings, reasons.
pub mod described {
    pub use crate::{api::router::endpoints, config::settings, door::DOORS, refusal::Reason};
}

/// Keys and tokens.
pub mod tokens {
    pub use crate::{
        auth::{
            keys::{Keyring, error::KeyError},
            token::{Grant, Issued, Kind},
        },
        store::accounts::UserId,
    };
}

/// The steps that a message takes, for benches.
pub mod steps {
    pub use crate::{
        door::{channel_frame::ChannelEncoder, propromo::PropromoEncoder},
        entry::{Entry, NewEntry},
        event::Person,
        gateway::{Gateway, handler::Handler},
        http::{answer::Persistence, head::Head, reply::Reply},
        message::{Draft, Message, MessageId, RoomName},
        room::{Bounds, Rooms, announcer::AnnouncePolicy, encoder::Encoder, member::Member},
        socket::{flusher::Flusher, frame, outbound::Outbound},
        store::{
            error::StoreError,
            ledger::{Ledger, SignedPart},
            log::{Appended, MessageLog},
            sqlite::{Embedded, EmbeddedOptions, database::Durability, log::LogOptions},
        },
    };
}
