// Videos: a timeline with a lane an object, prompts on any frame, tracking that streams and may be cancelled.
import { computed, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { bitmap, download, get, post, request, stream, type Box, type Frame, type Job, type Video } from './api'
import { colourOf, css } from './palette'
import { readRuns } from './rle'
import { Button, run, say, server, useKeys } from './shell'
import { Viewer, type Colour, type Shown, type Tool } from './viewer'

const video = signal<Video | null>(null)
const image = signal<ImageBitmap | null>(null)
const at = signal(0)
const drawn = signal(0) // the frame whose picture is there: masks are those of the picture, never ahead of it
const frames = signal(new Map<number, Frame>())
const selected = signal<number | null>(null)
const tool = signal<Tool>('click')
const job = signal<string | null>(null)
const playing = signal(false)
const loop = signal<[number, number] | null>(null)
const progress = signal(0)

const path = () => `/v1/videos/${video.value!.id}`
const total = computed(() => video.value?.frames_total ?? Math.max(0, ...frames.value.keys()) + 1)
const areaOf = (counts: string) => readRuns(counts).reduce((sum, run, place) => sum + (place % 2 ? run : 0), 0)

const shown = computed<Shown>(() => {
  const now = video.value, frame = frames.value.get(drawn.value)
  const ids = frame?.ids ?? []
  const colours = ids.map<Colour>((id) => [...colourOf(id), id === selected.value ? 190 : 105])
  const marks = (now?.marks ?? [])
    .filter((each) => each.frame === drawn.value && each.object === selected.value)
    .flatMap((each) => each.points.map(([x, y], place) => ({ x, y, positive: each.labels[place] === 1 })))
  return {
    image: image.value, size: now ? [now.height, now.width] : [1, 1],
    ...masksOf(frame), colours, marks, boxes: [], draft: null,
  }
})

// The same lists for the same frame, so that its masks are not painted again for every colour that changes.
const kept = new WeakMap<Frame, { masks: string[]; areas: number[] }>()
const none = { masks: [], areas: [] }
function masksOf(frame: Frame | undefined): { masks: string[]; areas: number[] } {
  if (!frame) return none
  if (!kept.has(frame)) kept.set(frame, { masks: frame.rles, areas: frame.rles.map(areaOf) })
  return kept.get(frame)!
}

function put(rows: Frame[]): void {
  const next = new Map(frames.value)
  for (const each of rows) next.set(each.index, each)
  frames.value = next
}

export async function openVideo(key: string): Promise<void> {
  const found = await run(() => get<Video>(`/v1/videos/${key}`))
  if (!found) { location.hash = ''; return }
  video.value = found
  frames.value = new Map()
  selected.value = found.objects[0] ?? null
  for (let start = 0; start <= Math.max(0, ...found.frames); start += 500) {
    const rows = await run(() => get<Frame[]>(`${path()}/results?start=${start}`))
    if (rows) put(rows)
  }
  await show(0)
  if (found.job) void follow(found.job)
}

export function closeVideo(): void {
  playing.value = false
  video.value = image.value = null
}

let asked = 0
async function show(index: number): Promise<void> {
  const last = Math.max(0, total.value - 1)
  at.value = Math.min(last, Math.max(0, index))
  const number = ++asked
  const picture = await run(() => bitmap(`${path()}/frames/${at.value}`))
  if (picture && number === asked) {
    image.value = picture
    drawn.value = at.value
  }
}

async function refresh(): Promise<void> {
  const next = await run(() => get<Video>(path()))
  if (next) {
    video.value = next
    if (selected.value !== null && !next.objects.includes(selected.value)) selected.value = null
  }
}

// A prompt stops what runs; its frames are kept.
async function prompt(what: string, body: object): Promise<Frame | undefined> {
  if (job.value) await cancel()
  const before = new Set(video.value!.objects)
  const frame = await run(() => post<Frame>(`${path()}/${what}`, body))
  if (frame) {
    put([frame])
    await refresh()
    const begun = video.value!.objects.filter((each) => !before.has(each))
    if (begun.length) selected.value = begun[0]!
  }
  return frame
}

async function track(direction: string, extra: object = {}): Promise<void> {
  const body = { direction, ...(loop.value ? { start: loop.value[0], stop: loop.value[1] + 1 } : {}), ...extra }
  const begun = await run(() => post<Job>(`${path()}/track`, body))
  if (begun) await follow(begun.id)
}

async function follow(key: string): Promise<void> {
  job.value = key
  progress.value = 0
  let last = -1
  for (let tries = 0; tries < 5; tries++) { // a connection that breaks is taken up after the last frame that came
    try {
      for await (const row of stream(`/v1/jobs/${key}/frames?after=${last}`)) {
        last = row.seq
        if (row.frame) { put([row.frame]); progress.value++ }
        if (row.job) {
          if (row.job.error) say(row.job.error, 'error')
          tries = 5
        }
      }
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000))
    }
  }
  job.value = null
  await refresh()
}

const cancel = async () => {
  const key = job.value
  if (key) await run(() => post<Job>(`/v1/jobs/${key}/cancel`))
  job.value = null
}

// Outwards from here, both ways, until nothing changes any more.
const correct = () => track('both', { start: at.value, stop: undefined, until_stable: true })

const restore = async (choice: HTMLSelectElement) => {
  const next = await run(() => post<Video>(`${path()}/versions/${choice.value}`))
  if (!next) return
  choice.value = '1' // what was there before this: a second click takes it back
  await openVideo(next.id)
}

const acts = {
  click: (x: number, y: number, positive: boolean) => {
    if (selected.value === null && !positive) { say('A click that takes away needs an object: select one first'); return }
    void prompt('click', { object: selected.value, frame: drawn.value, points: [[x, y]], labels: [positive ? 1 : 0] })
  },
  box: (box: Box, positive: boolean) => {
    if (positive) void prompt('click', { object: null, frame: drawn.value, box })
    else void prompt('concept', { phrase: video.value!.concepts.at(-1) ?? '', not_boxes: [box], frame: drawn.value })
  },
  stroke: () => undefined,
  polygon: () => undefined,
  pick: (place: number) => { selected.value = place < 0 ? null : frames.value.get(drawn.value)?.ids[place] ?? null },
}

// Frames where a look is worth while: what is stale, and where an object begins or ends.
const stops = computed<number[]>(() => {
  const found = new Set<number>(video.value?.stale ?? [])
  const order = [...frames.value.keys()].sort((a, b) => a - b)
  order.forEach((index, place) => {
    if (!place) return
    const ids = (number: number) => frames.value.get(number)!.ids.join()
    if (ids(index) !== ids(order[place - 1]!)) found.add(index)
  })
  return [...found].sort((a, b) => a - b)
})

function togglePlay(): void {
  playing.value = !playing.value
  const [low, high] = loop.value ?? [0, total.value - 1]
  const step = async () => {
    while (playing.value && video.value) {
      const began = performance.now()
      await show(at.value >= high ? low : at.value + 1)
      const pause = 1000 / (video.value?.fps || 25) - (performance.now() - began)
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, pause)))
    }
  }
  if (playing.value) void step()
}

const beginRange = () => { loop.value = [at.value, Math.max(at.value, loop.value?.[1] ?? total.value - 1)] }
const endRange = () => { loop.value = [Math.min(at.value, loop.value?.[0] ?? 0), at.value] }

export function VideoRoom() {
  const jump = (by: number) => void show(at.value + by)
  useKeys([
    ['Space', 'Play or pause', togglePlay],
    ['j', 'Frame before', () => jump(-1)], ['k', 'Next frame', () => jump(1)],
    ['Shift+ArrowLeft', 'Ten frames back', () => jump(-10)], ['Shift+ArrowRight', 'Ten frames on', () => jump(10)],
    ['.', 'Next stop: stale, or where an object comes or goes', () => { const next = stops.value.find((each) => each > at.value); if (next !== undefined) void show(next) }],
    [',', 'Stop before', () => { const before = stops.value.filter((each) => each < at.value).at(-1); if (before !== undefined) void show(before) }],
    ['v', 'Select', () => { tool.value = 'move' }], ['c', 'Click', () => { tool.value = 'click' }], ['b', 'Box around an object', () => { tool.value = 'box' }],
    ['t', 'Track forward', () => void track('forward')], ['r', 'Track backward', () => void track('backward')], ['o', 'Track again around this frame', () => void correct()],
    ['x', 'Cancel; frames are kept', () => void cancel()],
    ['[', 'Range begins here', beginRange],
    [']', 'Range ends here', endRange],
    ['Escape', 'Begin a new object', () => { selected.value = null; loop.value = null }],
    ['/', 'Write a phrase', () => document.querySelector<HTMLInputElement>('#video-phrase')?.focus()],
  ])
  const now = video.value
  if (!now) return <main class="welcome"><p>Opening the video</p></main>
  return (
    <main class="room">
      <aside aria-label="What to follow"><Concepts /><Tracking /></aside>
      <section aria-label="Video" class="stage">
        <div class="tools" role="toolbar" aria-label="Tools">
          <Button label="Select" pressed={tool.value === 'move'} onClick={() => { tool.value = 'move' }} />
          <Button label="Click" pressed={tool.value === 'click'} onClick={() => { tool.value = 'click' }} />
          <Button label="Box" pressed={tool.value === 'box'} onClick={() => { tool.value = 'box' }} />
          <Button label="New object" onClick={() => { selected.value = null }} />
          <span class="gap" />
          <Button label="Play" pressed={playing.value} onClick={togglePlay} />
          <Button label="Frame before" onClick={() => jump(-1)}>◀</Button>
          <Button label="Next frame" onClick={() => jump(1)}>▶</Button>
          <output aria-label="Frame">{at.value + 1} / {total.value}</output>
          <Button label="Range from here" onClick={beginRange} hint="Play and track in a range alone">[</Button>
          <Button label="Range to here" onClick={endRange}>]</Button>
          <Button label="Whole video" disabled={!loop.value} onClick={() => { loop.value = null }}>⟷</Button>
        </div>
        <Viewer shown={shown.value} tool={tool.value} brush={10} acts={acts} label="Frame with masks. Arrows move a cross, Enter clicks there." />
        <Timeline />
      </section>
    </main>
  )
}

function Concepts() {
  const field = useRef<HTMLInputElement>(null)
  const add = (event: Event) => {
    event.preventDefault()
    const phrase = field.current!.value.trim()
    if (!phrase) return
    field.current!.value = ''
    void prompt('concept', { phrase, frame: drawn.value })
  }
  const forget = async (phrase: string) => {
    const next = await run(() => post<Video>(`${path()}/forget`, { phrase }))
    if (next) await openVideo(next.id)
  }
  return (
    <section aria-label="Phrases">
      <form class="row" onSubmit={add}>
        <label class="grow"><span class="hidden-label">Phrase</span><input id="video-phrase" ref={field} placeholder="bottle" maxLength={300} autocomplete="off" /></label>
        <button class="primary" type="submit">Follow</button>
      </form>
      <ul class="chips" aria-label="Phrases followed">
        {video.value!.concepts.map((each) => (
          <li class="chip" key={each}><span class="name">{each}</span><button type="button" aria-label={`Forget ${each}`} onClick={() => void forget(each)}>×</button></li>
        ))}
      </ul>
      <p class="quiet">Or click an object in the picture, or draw a box around it; Alt+click takes away.</p>
    </section>
  )
}

function Tracking() {
  const format = useRef<HTMLSelectElement>(null), version = useRef<HTMLSelectElement>(null)
  const now = video.value!
  const isIdle = job.value === null
  const remove = async () => {
    const next = await run(async () => (await request('DELETE', `${path()}/objects/${selected.value}`)).json() as Promise<Video>)
    if (next) await openVideo(next.id)
  }
  return (
    <section aria-label="Tracking" class="grow scroll">
      <h2>Track</h2>
      <div class="row wrap">
        <Button label="Backward" disabled={!isIdle} onClick={() => void track('backward', { start: at.value })} />
        <Button label="Both" disabled={!isIdle} onClick={() => void track('both', { start: at.value })} />
        <Button label="Forward" class="primary" disabled={!isIdle} onClick={() => void track('forward')} />
        <Button label="Around this frame" disabled={!isIdle} onClick={() => void correct()} hint="Outwards from a correction, until ten frames come out as before" />
        <Button label="Cancel" disabled={isIdle} onClick={() => void cancel()} hint="Stops; the frames so far are kept" />
      </div>
      {!isIdle && <p><progress aria-label="Frames tracked" value={progress.value} max={total.value} /> {progress.value} frames</p>}
      <h2>{now.objects.length} {now.objects.length === 1 ? 'object' : 'objects'}</h2>
      <ul class="objects">
        {now.objects.map((id) => (
          <li key={id} class={id === selected.value ? 'chosen' : ''}>
            <button type="button" class="name" aria-pressed={id === selected.value} onClick={() => { selected.value = id }}>
              <i style={{ background: css(id) }} />object {id}
            </button>
          </li>
        ))}
      </ul>
      <div class="row wrap">
        <Button label="Remove object" disabled={selected.value === null} onClick={() => void remove()} />
      </div>
      <p class="row"><label class="grow"><span class="hidden-label">Earlier results</span><select ref={version} class="grow" disabled={!now.versions}>
        {[...Array(now.versions).keys()].map((each) => <option key={each} value={each + 1}>{each ? `${each + 1} runs ago` : 'before the last run'}</option>)}
      </select></label>
        <Button label="Restore" disabled={!now.versions} onClick={() => void restore(version.current!)} hint="Brings earlier results back; those of now are kept too" /></p>
      <p class="row"><label>export as <select ref={format}>{(server.value?.video_formats ?? ['json']).map((each) => <option key={each}>{each}</option>)}</select></label>
        <Button label="Export" onClick={() => void run(() => download(`${path()}/export?format=${format.current!.value}`, `${now.name}.zip`))} /></p>
    </section>
  )
}

const LANE = 16
const SURE = 0.5 // scores of an object on a frame from which on it is no mere candidate

// Lanes of objects: full where it is seen, hollow where the model is unsure of it, thin where it was looked for and is
// not, pale over a bright line where a correction waits.
function Timeline() {
  const canvas = useRef<HTMLCanvasElement>(null)
  const now = video.value!
  useEffect(() => {
    const target = canvas.current!, width = target.clientWidth, count = Math.max(1, total.value)
    const height = (now.objects.length + 1) * LANE + 14
    target.width = width
    target.height = height
    target.style.height = `${height}px`
    paintLanes(target.getContext('2d')!, width, height, count, now)
  })
  const go = (event: PointerEvent) => {
    if (event.type === 'pointermove' && !event.buttons) return
    const place = canvas.current!.getBoundingClientRect()
    void show(Math.floor(((event.clientX - place.left) / place.width) * total.value))
  }
  return (
    <div class="timeline">
      <canvas ref={canvas} onPointerDown={go} onPointerMove={go} role="img" aria-label={`Timeline: ${frames.value.size} of ${total.value} frames tracked, ${now.stale.length} stale`} />
      <input type="range" aria-label="Frame" min={0} max={Math.max(0, total.value - 1)} value={at.value} onInput={(event) => void show(Number(event.currentTarget.value))} />
    </div>
  )
}

function paintLanes(context: CanvasRenderingContext2D, width: number, height: number, count: number, now: Video): void {
  const step = width / count, stale = new Set(now.stale)
  for (const [index, frame] of frames.value) {
    const x = index * step
    now.objects.forEach((id, lane) => {
      const place = frame.ids.indexOf(id), y = lane * LANE + 2
      if (place < 0) { context.fillStyle = '#6e7681'; context.fillRect(x, y + 5, Math.max(1, step), 2); return }
      const wide = Math.max(1, step - 0.5)
      context.fillStyle = css(id, stale.has(index) ? 0.35 : 1)
      if (Math.min(frame.scores[place]!, frame.object_scores[place]!) >= SURE) context.fillRect(x, y, wide, LANE - 5)
      else { context.fillRect(x, y, wide, 2); context.fillRect(x, y + LANE - 7, wide, 2) }
      if (stale.has(index)) { context.fillStyle = '#f0b429'; context.fillRect(x, y + LANE - 7, Math.max(1, step), 2) }
    })
    const score = frame.object_scores.length ? Math.min(...frame.object_scores) : 0
    context.fillStyle = '#8b949e'
    context.fillRect(x, height - 14 - score * LANE + 12, Math.max(1, step - 0.5), score * LANE)
  }
  for (const mark of now.marks) {
    const lane = mark.object === null ? -1 : now.objects.indexOf(mark.object)
    context.fillStyle = '#fff'
    context.beginPath()
    context.arc((mark.frame + 0.5) * step, lane < 0 ? 5 : lane * LANE + 7, 3.5, 0, 7)
    context.fill()
  }
  if (loop.value) {
    context.fillStyle = 'rgba(255,255,255,.15)'
    context.fillRect(loop.value[0] * step, 0, (loop.value[1] - loop.value[0] + 1) * step, height)
  }
  context.fillStyle = '#fff'
  context.fillRect((at.value + 0.5) * step - 1, 0, 2, height)
}
