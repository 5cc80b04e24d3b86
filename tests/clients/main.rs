//! Who talks to the server: programs that others have written, the page in a browser, `talk`.

mod logins;
mod others;
mod page;
mod talk;
mod talk_terminal;
mod walkthroughs;
mod webhooks;
