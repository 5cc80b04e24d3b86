// The service worker: keeps the files of the page, and nothing else, for when the server can't be reached.
//
// What is asked for is fetched, and what was kept is given only if that fails: so a page is never older than its server.

const KEPT = 'shell';
const SHELL = [
  'alerts.js',
  'api.js',
  'app.js',
  'changes.js',
  'channel.js',
  'chitchat.js',
  'client.js',
  'completion.js',
  'composer.js',
  'dialogs.js',
  'dom.js',
  'drafts.js',
  'emoji.js',
  'forms.js',
  'heard.js',
  'icon-unread.svg',
  'icon.svg',
  'item.js',
  'kept.js',
  'keyboard.js',
  'links.js',
  'manifest.webmanifest',
  'markup.js',
  'mentions.js',
  'message.js',
  'reads.js',
  'room.js',
  'search.js',
  'sentences.js',
  'session.js',
  'sidebar.js',
  'stretch.js',
  'style.css',
  'talk.js',
  'timeline.js',
  'tools.js',
  'words.js',
].map((name) => `/assets/${name}`);

addEventListener('install', (event) => {
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(['/', ...SHELL])));
});

addEventListener('fetch', (event) => {
  const { pathname, origin } = new URL(event.request.url);
  const isShell = pathname === '/' || SHELL.includes(pathname);
  if (event.request.method === 'GET' && origin === location.origin && isShell) event.respondWith(fetched(event.request, pathname));
});

addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(clients.openWindow(event.notification.data));
});

async function fetched(request, pathname) {
  const cache = await caches.open(KEPT);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(pathname, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(pathname);
    if (kept) return kept;
    throw error;
  }
}
