// A camera of this computer or phone: frames go to the server one at a time, so that none waits for another, and what is
// followed is drawn over the frame that it was found on.
import { computed, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { post, request, upload, type Box, type Frame } from './api'
import { colourOf, css } from './palette'
import { readRuns } from './rle'
import { Button, run, say, useKeys } from './shell'
import { Viewer, type Colour, type Shown, type Tool } from './viewer'

const SIDE = 640 // of a frame that is sent
const image = signal<ImageBitmap | null>(null)
const frame = signal<Frame | null>(null)
const size = signal<[number, number]>([1, 1])
const concepts = signal<string[]>([])
const selected = signal<number | null>(null)
const tool = signal<Tool>('click')
const isRunning = signal(false)
const rate = signal(0)
let stream: MediaStream | null = null
let session: string | null = null
let sent = 0 // frames of this session: the last one has the number before it

const shown = computed<Shown>(() => {
  const now = frame.value
  const areas = now?.rles.map((counts) => readRuns(counts).reduce((sum, each, place) => sum + (place % 2 ? each : 0), 0)) ?? []
  const colours = (now?.ids ?? []).map<Colour>((id) => [...colourOf(id), id === selected.value ? 190 : 105])
  return { image: image.value, size: size.value, masks: now?.rles ?? [], areas, colours, marks: [], boxes: [], draft: null }
})

async function start(): Promise<void> {
  if (!navigator.mediaDevices) {
    say('A browser gives a camera to pages of this computer or over HTTPS alone: see the documentation of the server', 'error')
    return
  }
  const opened = await run(() => navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: SIDE } } }))
  if (!opened) return
  stream = opened
  isRunning.value = true
  const player = document.createElement('video')
  player.muted = player.playsInline = true
  player.srcObject = opened
  await player.play()
  while (isRunning.value && stream === opened) {
    const began = performance.now()
    if (!(await sendFrame(player))) break
    rate.value = 0.8 * rate.value + 0.2 * (1000 / Math.max(1, performance.now() - began))
  }
  stop()
}

async function sendFrame(player: HTMLVideoElement): Promise<boolean> {
  const scale = Math.min(1, SIDE / Math.max(player.videoWidth, player.videoHeight))
  const width = Math.max(1, Math.round(player.videoWidth * scale)), height = Math.max(1, Math.round(player.videoHeight * scale))
  if (session && (size.value[0] !== height || size.value[1] !== width)) await end() // a phone was turned
  const canvas = new OffscreenCanvas(width, height)
  canvas.getContext('2d')!.drawImage(player, 0, 0, width, height)
  const picture = canvas.transferToImageBitmap()
  canvas.getContext('2d')!.drawImage(picture, 0, 0)
  const file = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.9 })
  session ??= (await run(() => post<{ id: string }>('/v1/live')))?.id ?? null
  if (!session) return false
  const key = session
  const found = await run(async () => ({ objects: await upload<Frame | null>(`/v1/live/${key}/frames`, 'image', file, 'frame.jpg') }))
  if (!found) return false
  if (key !== session) return true
  sent++
  size.value = [height, width]
  image.value?.close()
  image.value = picture
  frame.value = found.objects
  return true
}

function stop(): void {
  isRunning.value = false
  for (const track of stream?.getTracks() ?? []) track.stop()
  stream = null
}

async function end(): Promise<void> {
  const key = session
  session = null
  sent = 0
  frame.value = null
  selected.value = null
  concepts.value = []
  if (key) await request('DELETE', `/v1/live/${key}`).catch(() => undefined)
}

async function ask(what: 'click' | 'concept', body: object): Promise<void> {
  if (!session || !sent) { say('Start the camera first'); return }
  const before = new Set(frame.value?.ids)
  const found = await run(() => post<Frame | null>(`/v1/live/${session}/${what}`, { ...body, frame: sent - 1 }))
  if (!found) return
  frame.value = found
  const begun = found.ids.filter((each) => !before.has(each))
  if (what === 'click' && begun.length) selected.value = begun[0]!
}

const acts = {
  click: (x: number, y: number, positive: boolean) => {
    if (selected.value === null && !positive) { say('A click that takes away needs an object: select one first'); return }
    void ask('click', { object: selected.value, points: [[x, y]], labels: [positive ? 1 : 0] })
  },
  box: (box: Box) => void ask('click', { object: null, box }),
  stroke: () => undefined,
  polygon: () => undefined,
  pick: (place: number) => { selected.value = place < 0 ? null : frame.value?.ids[place] ?? null },
}

const toggle = () => { if (isRunning.value) stop(); else void start() }

export function closeLive(): void {
  stop()
  void end()
  image.value?.close()
  image.value = null
}

export function Live() {
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => closeLive, [])
  useKeys([
    ['Space', 'Start or stop the camera', toggle],
    ['v', 'Select', () => { tool.value = 'move' }], ['c', 'Click', () => { tool.value = 'click' }], ['b', 'Box around an object', () => { tool.value = 'box' }],
    ['Escape', 'Begin a new object', () => { selected.value = null }],
    ['/', 'Write a phrase', () => field.current?.focus()],
    ['Arrows, Enter, Alt+Enter', 'On the picture: move the cross, click there, take away there', () => undefined],
  ])
  const follow = (event: Event) => {
    event.preventDefault()
    const phrase = field.current!.value.trim()
    if (!phrase) return
    field.current!.value = ''
    concepts.value = [...concepts.value, phrase]
    void ask('concept', { phrase })
  }
  const ids = frame.value?.ids ?? []
  return (
    <main class="room">
      <aside aria-label="What to follow">
        <section aria-label="Phrases">
          <form class="row" onSubmit={follow}>
            <label class="grow"><span class="hidden-label">Phrase</span><input ref={field} placeholder="bottle" maxLength={300} autocomplete="off" /></label>
            <button class="primary" type="submit">Follow</button>
          </form>
          <ul class="chips" aria-label="Phrases followed">{concepts.value.map((each) => <li class="chip" key={each}><span class="name">{each}</span></li>)}</ul>
          <p class="quiet">Or click an object in the picture, or draw a box around it. Nothing of a camera is kept.</p>
        </section>
        <section aria-label="Objects" class="grow scroll">
          <h2>{ids.length} objects</h2>
          <ul class="objects">
            {ids.map((id) => (
              <li key={id} class={id === selected.value ? 'chosen' : ''}>
                <button type="button" class="name" aria-pressed={id === selected.value} onClick={() => { selected.value = id }}><i style={{ background: css(id) }} />object {id}</button>
              </li>
            ))}
          </ul>
        </section>
      </aside>
      <section aria-label="Camera" class="stage">
        <div class="tools" role="toolbar" aria-label="Tools">
          <Button label={isRunning.value ? 'Stop the camera' : 'Start the camera'} class="primary" onClick={toggle} hint="Space" />
          <Button label="Select" pressed={tool.value === 'move'} onClick={() => { tool.value = 'move' }} />
          <Button label="Click" pressed={tool.value === 'click'} onClick={() => { tool.value = 'click' }} />
          <Button label="Box" pressed={tool.value === 'box'} onClick={() => { tool.value = 'box' }} />
          <Button label="New object" onClick={() => { selected.value = null }} />
          <span class="gap" />
          <output aria-label="Frames a second">{isRunning.value ? `${rate.value.toFixed(1)} frames a second` : ''}</output>
        </div>
        <Viewer shown={shown.value} tool={tool.value} brush={10} acts={acts} label="Camera with masks. Arrows move a cross, Enter clicks there." />
      </section>
    </main>
  )
}
