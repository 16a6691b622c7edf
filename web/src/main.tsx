// The page: which room is open is in the address, so that a reload or a second tab comes to the same place.
import { effect, signal } from '@preact/signals'
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { get, isKept, upload, type ServerInfo, type Session, type Video } from './api'
import { addFiles, closePhoto, openFiles, openPhoto, Photos } from './photos'
import { Live } from './live'
import { Review } from './review'
import { Button, Help, isHelpOpen, isSlow, Notice, run, say, server } from './shell'
import { closeVideo, openVideo, VideoRoom } from './video'
import './style.css'

type Room = 'photo' | 'video' | 'review' | 'live' | ''
const room = signal<Room>('')
const sessions = signal<Session[]>([])

async function follow(): Promise<void> {
  const [name, key] = location.hash.slice(1).split('=') as [Room, string | undefined]
  room.value = ['photo', 'video', 'review', 'live'].includes(name) ? name : ''
  if (room.value !== 'photo') closePhoto()
  if (room.value !== 'video') closeVideo()
  if (room.value === 'photo' && key) await openPhoto(key)
  if (room.value === 'video' && key) await openVideo(key)
  const rows = await run(() => get<Session[]>('/v1/sessions'))
  if (rows) sessions.value = rows
}

async function take(files: File[]): Promise<void> {
  const videos = files.filter((each) => each.type.startsWith('video/') || /\.(mp4|m4v|mov|mkv|webm|avi|mpe?g|ts)$/i.test(each.name))
  await addFiles(files.filter((each) => !videos.includes(each) && (each.type.startsWith('image/') || /\.(heic|tiff?)$/i.test(each.name))))
  for (const file of videos) {
    const opened = await run(() => upload<Video>('/v1/videos', 'video', file, file.name))
    if (opened) location.hash = `video=${opened.id}`
  }
}

async function wait(): Promise<void> { // until the weights are there
  for (;;) {
    const found = await run(() => get<ServerInfo>('/v1/server'))
    if (found) server.value = found
    if (!found || found.state !== 'loading') return
    await new Promise((resolve) => setTimeout(resolve, 1000))
  }
}

function App() {
  useEffect(() => {
    const stop = (event: Event) => event.preventDefault()
    const drop = (event: DragEvent) => { event.preventDefault(); openFiles(event.dataTransfer?.files) }
    const paste = (event: ClipboardEvent) => { if (event.clipboardData?.files.length) openFiles(event.clipboardData.files) }
    const files = (event: Event) => void take((event as CustomEvent<File[]>).detail)
    const lost = () => say('There is no network; what you did is kept on the server', 'error')
    addEventListener('dragover', stop)
    addEventListener('drop', drop)
    addEventListener('paste', paste)
    addEventListener('masklet-files', files)
    addEventListener('hashchange', follow)
    addEventListener('offline', lost)
    void wait()
    void follow()
  }, [])
  const go = (to: string) => { location.hash = to }
  const key = location.hash.split('=')[1]
  const latest = (kind: string) => sessions.value.find((each) => each.kind === kind)
  return (
    <>
      <header>
        <a class="skip" href="#" onClick={(event) => { event.preventDefault(); document.querySelector<HTMLElement>('.viewer')?.focus() }}>To the picture</a>
        <button type="button" class="brand" onClick={() => go('')} aria-label="masklet: open another file">masklet</button>
        <nav aria-label="Rooms">
          <Button label="Photos" pressed={room.value === 'photo'} onClick={() => go(latest('photo') ? `photo=${latest('photo')!.id}` : '')} />
          <Button label="Video" pressed={room.value === 'video'} onClick={() => go(latest('video') ? `video=${latest('video')!.id}` : '')} />
          <Button label="Camera" pressed={room.value === 'live'} onClick={() => go('live')} />
          <Button label="Review" pressed={room.value === 'review'} onClick={() => go('review')} />
        </nav>
        <label class="sessions"><span class="hidden-label">Sessions</span>
          <select value={key && sessions.value.some((each) => each.id === key) ? location.hash.slice(1) : ''} onChange={(event) => go(event.currentTarget.value)}>
            <option value="">open another file</option>
            {sessions.value.map((each) => <option key={each.id} value={`${each.kind}=${each.id}`}>{each.name}</option>)}
          </select>
        </label>
        <span class="gap" />
        <span class={isSlow.value ? 'work on' : 'work'} aria-hidden="true" />
        <span class="quiet">{server.value ? `${server.value.model.split('/').pop()}${server.value.state === 'ready' ? '' : `: ${server.value.state}`}` : ''}</span>
        <Button label="Keys" hint="All keys (?)" onClick={() => { isHelpOpen.value = !isHelpOpen.value }}>?</Button>
      </header>
      <Notice />
      {isKept.value && <p class="notice info" role="status">The server cannot be reached: this is what was there last. Verdicts wait in this browser.</p>}
      {room.value === 'video' ? <VideoRoom /> : room.value === 'review' ? <Review /> : room.value === 'live' ? <Live /> : <Photos />}
      <Help />
    </>
  )
}

effect(() => { document.title = room.value ? `masklet: ${room.value}` : 'masklet' })
if (navigator.serviceWorker && import.meta.env.PROD) navigator.serviceWorker.register('/sw.js').catch(() => undefined) // not over plain HTTP
render(<App />, document.getElementById('app')!)
