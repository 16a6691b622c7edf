// Keeps the page, and what it showed last, for when the server cannot be reached. The server is always asked first.
// What comes with a token is somebody's at a shared server and is not kept on this machine.
const CACHE = 'masklet'
const SHELL = ['/', '/assets/index.js', '/assets/index.css', '/assets/map.worker.js']
const SHOWN = /^\/v1\/(server|sessions|concepts|images\/[\w-]+(\/file|\/tiles\/\d+\/\d+\/\d+)?|videos\/[\w-]+(\/results|\/frames\/\d+)?)$/
const MOST = 400 // answers that are kept

self.addEventListener('install', (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(SHELL)).then(() => self.skipWaiting()))
})
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()))

self.addEventListener('fetch', (event) => {
  const { request } = event, address = new URL(request.url)
  if (request.method !== 'GET' || address.origin !== location.origin) return
  const isShell = SHELL.includes(address.pathname)
  const isShown = SHOWN.test(address.pathname) && !address.searchParams.has('since') && !request.headers.has('authorization')
  if (isShell || isShown) event.respondWith(answer(request, isShell ? address.pathname : request.url))
})

async function answer(request, key) {
  const cache = await caches.open(CACHE)
  try {
    const fresh = await fetch(request)
    if (fresh.status === 200) await keep(cache, key, fresh.clone())
    return fresh
  } catch (error) {
    const kept = await cache.match(key)
    if (!kept) throw error
    const headers = new Headers(kept.headers)
    headers.set('x-masklet-kept', '1')
    return new Response(kept.body, { status: 200, headers })
  }
}

async function keep(cache, key, response) {
  try {
    await cache.put(key, response)
    const keys = await cache.keys()
    const old = keys.filter((each) => !SHELL.includes(new URL(each.url).pathname)).slice(0, Math.max(0, keys.length - MOST))
    await Promise.all(old.map((each) => cache.delete(each)))
  } catch { /* no room: nothing is kept then */ }
}
