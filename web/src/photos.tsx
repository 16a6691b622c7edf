// Photos: phrases as chips, examples, clicks, questions, edits by hand, undo, export.
import { computed, effect, signal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { bitmap, download, get, post, request, upload, type Box, type Photo, type Point, type Thing } from './api'
import { Bank, keepConcept, loadBank } from './bank'
import { colourOf, css } from './palette'
import { decode, encode } from './rle'
import { Button, copy, run, say, server, useKeys } from './shell'
import { endTask, TaskBar, toggleGroup } from './task'
import { isLarge, Tiles } from './tiles'
import { Viewer, type Colour, type Draft, type Shown, type Tool } from './viewer'

const photo = signal<Photo | null>(null)
const image = signal<ImageBitmap | Tiles | null>(null)
const arrived = signal(0) // tiles that have come
const tool = signal<Tool>('click')
const brush = signal(12)
const selected = signal<number | null>(null) // an object
const marked = signal<ReadonlySet<number>>(new Set()) // objects that are to be merged
const chosen = signal('') // the phrase that examples and clicks belong to
const threshold = signal(0.5)
const draft = signal<Draft | null>(null)
const take = signal<'several' | 'one' | 'all'>('several')
const arbitrated = signal(false)
const solo = signal<number | null>(null)
const asPrompt = signal(false)
const script = signal<{ python: string; command_line: string } | null>(null)
const waiting = signal<{ x: number; y: number; positive: boolean }[]>([]) // clicks that are shown before their answer
let sent = 0 // older answers than the last one asked for are dropped

const path = () => `/v1/images/${photo.value!.id}`
const touched = (thing: Thing) => thing.source === 'click' || thing.source === 'hand'

const visible = computed<Thing[]>(() => {
  const now = photo.value
  if (!now) return []
  const best = new Set<number>()
  for (const concept of now.concepts) {
    const first = now.objects.filter((each) => each.phrase === concept.phrase && !touched(each)).sort((a, b) => b.score - a.score)[0]
    if (first) best.add(first.id)
  }
  const limit = take.value === 'all' ? 0 : threshold.value
  return now.objects.filter((each) => {
    if (solo.value !== null) return each.id === solo.value
    return !each.hidden && (touched(each) || (each.score >= limit && (take.value !== 'one' || best.has(each.id))))
  })
})

// Objects of a task's phrase that would be written.
const counted = computed(() => photo.value?.objects.filter((each) =>
  each.phrase === photo.value!.task?.phrase && !each.hidden && (touched(each) || each.score >= threshold.value)).length ?? 0)

// Names of phrases in the order they came; a colour each.
const phrases = computed<string[]>(() => {
  const now = photo.value
  if (!now) return []
  const given = now.task ? [now.task.phrase] : []
  return [...new Set([...given, ...now.concepts.map((each) => each.phrase), ...now.objects.map((each) => each.phrase)])]
})

// The masks as they are painted, of what is shown alone; the list stays the same while nothing of it changes.
let painted: { key: string; masks: string[]; areas: number[] } = { key: '', masks: [], areas: [] }
const masks = computed(() => {
  const list = visible.value
  const key = `${photo.value?.id} ${arbitrated.value} ${list.map((each) => `${each.id}:${each.area}:${each.mask.counts.length}:${each.score}`).join()}`
  if (key !== painted.key) {
    const weight = (each: Thing) => (arbitrated.value ? 1 - each.score : each.area)
    painted = { key, masks: list.map((each) => each.mask.counts), areas: list.map(weight) }
  }
  return painted
})

const shown = computed<Shown>(() => {
  const now = photo.value
  const colours = visible.value.map<Colour>((each) => {
    const [r, g, b] = colourOf(phrases.value.indexOf(each.phrase))
    return [r, g, b, each.id === selected.value ? 190 : 105]
  })
  const thing = now?.objects.find((each) => each.id === selected.value)
  const marks = thing ? thing.points.map(([x, y], place) => ({ x, y, positive: thing.labels[place] === 1 })) : []
  const concept = now?.concepts.find((each) => each.phrase === chosen.value)
  const boxes = concept
    ? [...concept.boxes.map((box) => ({ box, positive: true })), ...concept.not_boxes.map((box) => ({ box, positive: false }))]
    : []
  void arrived.value
  return {
    image: image.value, size: now ? [now.height, now.width] : [1, 1], ...masks.value, colours,
    marks: [...marks, ...waiting.value], boxes, draft: draft.value,
  }
})

function accept(next: Photo): void {
  const before = new Set(photo.value?.objects.map((each) => each.id))
  const isOther = photo.value?.id !== next.id
  photo.value = next
  if (isOther) threshold.value = next.threshold
  if (isOther && next.task) chosen.value = next.task.phrase
  if (selected.value !== null && !next.objects.some((each) => each.id === selected.value)) selected.value = null
  const ids = new Set(next.objects.map((each) => each.id))
  if ([...marked.value].some((each) => isOther || !ids.has(each))) marked.value = new Set([...marked.value].filter((each) => !isOther && ids.has(each)))
  if (!isOther && selected.value === null && tool.value !== 'box') {
    const made = next.objects.filter((each) => !before.has(each.id) && touched(each))
    if (made.length === 1) selected.value = made[0]!.id
  }
  if (!phrases.value.includes(chosen.value)) chosen.value = phrases.value.at(-1) ?? ''
}

// Asks the server for the next state; of several under way only the last one is shown.
async function change(what: string, body?: unknown): Promise<void> {
  const number = ++sent
  const next = await run(() => post<Photo>(`${path()}/${what}`, body))
  if (number === sent) waiting.value = []
  if (next && number === sent) accept(next)
}

export async function openPhoto(key: string): Promise<void> {
  const found = await run(() => get<Photo>(`/v1/images/${key}`))
  if (!found) { location.hash = ''; return }
  selected.value = solo.value = null
  accept(found)
  if (isLarge(found.width, found.height)) {
    setImage(new Tiles(`/v1/images/${key}`, found.width, found.height, () => { arrived.value++ }))
  } else {
    const picture = await run(() => bitmap(`/v1/images/${key}/file`))
    if (picture) setImage(picture)
  }
  request('POST', `/v1/images/${key}/encode`).catch(() => undefined) // so that the first question need not wait
}

export function closePhoto(): void {
  photo.value = draft.value = null
  setImage(null)
}

function setImage(next: ImageBitmap | Tiles | null): void {
  if (image.value !== next) image.value?.close()
  image.value = next
}

export async function addFiles(files: Iterable<File>): Promise<void> {
  for (const file of files) {
    const opened = await run(() => upload<Photo>('/v1/images', 'image', file, file.name))
    if (opened) location.hash = `photo=${opened.id}`
  }
}

// --- editing by hand ------------------------------------------------------------------------------------------------

function startMask(): Uint8Array {
  const now = photo.value!
  const thing = now.objects.find((each) => each.id === selected.value)
  return thing ? decode(thing.mask.counts, now.height, now.width) : new Uint8Array(now.height * now.width)
}

function stroke(points: Point[], radius: number, done: boolean): void {
  const now = photo.value!
  if (done) { void sendMask(); return }
  const mask = draft.value?.mask ?? startMask()
  const value = tool.value === 'brush' ? 1 : 0
  const [from, to] = [points[0]!, points[points.length - 1]!]
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, radius / 3)))
  for (let step = 0; step <= steps; step++) {
    const cx = from[0] + ((to[0] - from[0]) * step) / steps, cy = from[1] + ((to[1] - from[1]) * step) / steps
    for (let y = Math.max(0, Math.floor(cy - radius)); y < Math.min(now.height, cy + radius); y++) {
      for (let x = Math.max(0, Math.floor(cx - radius)); x < Math.min(now.width, cx + radius); x++) {
        if ((x + 0.5 - cx) ** 2 + (y + 0.5 - cy) ** 2 <= radius * radius) mask[y * now.width + x] = value
      }
    }
  }
  draft.value = { mask }
}

function polygon(points: Point[]): void {
  const now = photo.value!
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)]
  const left = Math.max(0, Math.floor(Math.min(...xs))), top = Math.max(0, Math.floor(Math.min(...ys)))
  const width = Math.min(now.width, Math.ceil(Math.max(...xs))) - left, height = Math.min(now.height, Math.ceil(Math.max(...ys))) - top
  if (width < 1 || height < 1) return
  const context = new OffscreenCanvas(width, height).getContext('2d')!
  context.beginPath()
  for (const [x, y] of points) context.lineTo(x - left, y - top)
  context.fill('evenodd')
  const pixels = context.getImageData(0, 0, width, height).data
  const mask = startMask()
  for (let at = 0; at < width * height; at++) {
    if (pixels[at * 4 + 3]! > 127) mask[(top + Math.floor(at / width)) * now.width + left + (at % width)] = 1
  }
  draft.value = { mask }
  void sendMask()
}

async function sendMask(): Promise<void> {
  const now = photo.value!, mask = draft.value?.mask
  if (!mask) return
  const rle = { size: [now.height, now.width], counts: encode(mask, now.height, now.width) }
  const isPrompt = asPrompt.value && tool.value === 'brush'
  await change('draw', { object: selected.value, phrase: chosen.value, mask: rle, as_prompt: isPrompt })
  draft.value = null
}

const acts = {
  click: (x: number, y: number, positive: boolean) => {
    const thing = photo.value!.objects.find((each) => each.id === selected.value)
    waiting.value = [...waiting.value, { x, y, positive }] // drawn at once
    const label = positive ? 1 : 0
    if (!thing && !positive) { waiting.value = []; say('A click that takes away needs an object: select one first'); return }
    void change('click', { object: thing?.id ?? null, phrase: chosen.value, points: [[x, y]], labels: [label] })
  },
  box: (box: Box, positive: boolean) => { void change('exemplar', { phrase: chosen.value, box, positive }) },
  stroke,
  polygon,
  pick: (place: number) => {
    const thing = place < 0 ? null : visible.value[place]!
    selected.value = thing?.id ?? null
    if (thing) chosen.value = thing.phrase
  },
}

const objects = (action: string, extra: object = {}) => {
  if (selected.value !== null) void change('objects', { action, objects: [selected.value], ...extra })
}
const toggle = (thing: Thing, name: 'hidden' | 'locked') =>
  void change('objects', { action: 'update', objects: [thing.id], [name]: !thing[name] })

function mark(id: number | null): void {
  if (id === null) return
  const next = new Set(marked.value)
  if (!next.delete(id)) next.add(id)
  marked.value = next
}

// What is marked becomes one object; where nothing is, all that are shown do.
async function merge(): Promise<void> {
  const ids = marked.value.size ? [...marked.value] : visible.value.map((each) => each.id)
  if (ids.length < 2) { say('Mark two objects or more first: X, or Shift+click in the list'); return }
  await change('objects', { action: 'merge', objects: ids })
  marked.value = new Set()
}

let moving = 0
function moveThreshold(value: number): void { // shown at once; the server is told when the slider rests
  threshold.value = value
  clearTimeout(moving)
  moving = window.setTimeout(() => void change('threshold', { threshold: value }), 400)
}

// A second tab on the same photo shows what the first one did.
async function look(): Promise<void> {
  const now = photo.value
  if (!now || document.hidden || draft.value) return
  const number = sent
  try {
    const answer = await request('GET', `${path()}?since=${now.version}`)
    if (answer.status === 200 && number === sent && photo.value?.id === now.id) {
      const next: Photo = await answer.json()
      if (next.version > now.version) { threshold.value = next.threshold; accept(next) }
    }
  } catch { /* the next look may reach it */ }
}

// --- what is seen ---------------------------------------------------------------------------------------------------

const TOOLS: [Tool, string, string][] = [
  ['move', 'Select', 'v'], ['click', 'Click', 'c'], ['box', 'Example box', 'b'],
  ['brush', 'Brush', 'p'], ['eraser', 'Eraser', 'e'], ['polygon', 'Polygon', 'g'],
]

const taskKeys = (now: Photo): [string, string, () => void][] => [
  ['Ctrl+Enter', 'Done: write the masks, and the next one', () => void endTask(now, 'done')],
  ['k', 'The chosen mask is a group that cannot be told apart', () => toggleGroup(selected.value)],
  ['q', 'Leave this one open', () => void endTask(now, 'leave')],
]

export function Photos() {
  useEffect(() => {
    const timer = setInterval(() => void look(), 2000)
    void loadBank()
    return () => clearInterval(timer)
  }, [])
  useEffect(() => effect(() => { if (tool.value !== 'brush' && tool.value !== 'eraser') draft.value = null }), [])
  const next = (by: number) => {
    const list = visible.value
    if (!list.length) return
    const at = list.findIndex((each) => each.id === selected.value)
    const thing = list[(at + by + list.length) % list.length]!
    selected.value = thing.id
    chosen.value = thing.phrase
  }
  useKeys([
    ...TOOLS.map(([name, label, key]): [string, string, () => void] => [key, label, () => { tool.value = name }]),
    ['Ctrl+z', 'Undo', () => void change('undo')],
    ['Ctrl+y / Ctrl+Shift+z', 'Redo', () => void change('redo')],
    ['. / n', 'Next object', () => next(1)],
    [', / m', 'Object before', () => next(-1)],
    ['Delete / Backspace', 'Delete the object', () => objects('delete')],
    ['h', 'Hide the object', () => { const thing = photo.value?.objects.find((each) => each.id === selected.value); if (thing) toggle(thing, 'hidden') }],
    ['l', 'Lock the object', () => { const thing = photo.value?.objects.find((each) => each.id === selected.value); if (thing) toggle(thing, 'locked') }],
    ['x', 'Mark the object, to merge what is marked', () => mark(selected.value)],
    ['j', 'Merge what is marked', () => void merge()],
    ['s', 'Show only this object', () => { solo.value = solo.value === null ? selected.value : null }],
    ['Escape', 'Begin a new object', () => { selected.value = null; solo.value = null }],
    ['[', 'Smaller brush', () => { brush.value = Math.max(1, brush.value / 1.3) }],
    [']', 'Larger brush', () => { brush.value = Math.min(400, brush.value * 1.3) }],
    ['/', 'Write a phrase', () => document.querySelector<HTMLInputElement>('#phrase')?.focus()],
    ['Arrows, Enter, Alt+Enter', 'On the picture: move the cross, click there, take away there', () => undefined],
    ['+ - 0', 'On the picture: zoom in, out, fit', () => undefined],
    ...(photo.value?.task ? taskKeys(photo.value) : []),
  ])
  const now = photo.value
  if (!now) return <Welcome />
  return (
    <main class="room">
      <aside aria-label="What to find"><Phrases /><Ask /><Objects /></aside>
      <section aria-label="Picture" class="stage">
        {now.task && <TaskBar photo={now} count={counted.value} selected={selected.value} />}
        <Tools />
        <Viewer shown={shown.value} tool={tool.value} brush={brush.value} acts={acts} label="Picture with masks. Arrows move a cross, Enter clicks there." />
        <Cut />
      </section>
      {script.value && <Script />}
    </main>
  )
}

export function Welcome() {
  const input = useRef<HTMLInputElement>(null), folder = useRef<HTMLInputElement>(null)
  return (
    <main class="welcome">
      <h1>Say what to find, get a mask of every instance</h1>
      <p>Drop a photo or a video anywhere on this page, paste a picture, or choose one.</p>
      <p class="row">
        <Button label="Choose files" class="primary" onClick={() => input.current!.click()} />
        <Button label="Choose a folder" onClick={() => folder.current!.click()} />
      </p>
      <input ref={input} type="file" multiple accept="image/*,video/*" hidden aria-label="Files" onChange={(event) => openFiles(event.currentTarget.files)} />
      <input ref={(each) => { folder.current = each; each?.setAttribute('webkitdirectory', '') }} type="file" hidden aria-label="Folder" onChange={(event) => openFiles(event.currentTarget.files)} />
    </main>
  )
}

export const openFiles = (files: FileList | null | undefined) => { if (files) dispatchEvent(new CustomEvent('masklet-files', { detail: [...files] })) }

function Phrases() {
  const field = useRef<HTMLInputElement>(null)
  const now = photo.value!
  const add = (event: Event) => {
    event.preventDefault()
    const words = field.current!.value.split(',').map((each) => each.trim()).filter(Boolean)
    if (!words.length) return
    field.current!.value = ''
    chosen.value = words.at(-1)!
    selected.value = null
    void change('find', { phrases: words })
  }
  return (
    <section aria-label="Phrases">
      <form onSubmit={add} class="row">
        <label class="grow"><span class="hidden-label">Phrase</span>
          <input id="phrase" ref={field} placeholder="red mug, coin" autocomplete="off" maxLength={300} />
        </label>
        <button class="primary" type="submit">Find</button>
      </form>
      <ul class="chips" aria-label="Phrases asked for">
        {now.concepts.map((concept) => {
          const count = visible.value.filter((each) => each.phrase === concept.phrase).length
          const name = concept.phrase || 'like the boxes'
          const isAbsent = concept.presence < 0.5 && count === 0
          return (
            <li key={concept.phrase} class={concept.phrase === chosen.value ? 'chip chosen' : 'chip'}>
              <button type="button" class="name" aria-pressed={concept.phrase === chosen.value} onClick={() => { chosen.value = concept.phrase; selected.value = null }}>
                <i style={{ background: css(phrases.value.indexOf(concept.phrase)) }} />
                {name} <b>{isAbsent ? 'absent' : count}</b> <small title="How sure the model is that it is there at all">{Math.round(concept.presence * 100)} %</small>
              </button>
              {concept.boxes.length > 0 && <button type="button" aria-label={`Keep the examples of ${name}`} title="Keep its examples for other photos" onClick={() => void keepConcept(now.id, concept.phrase)}>keep</button>}
              <button type="button" aria-label={`Forget ${name}`} onClick={() => void change('forget', { phrase: concept.phrase })}>×</button>
            </li>
          )
        })}
      </ul>
      <Bank find={(each) => { chosen.value = each.name; selected.value = null; void change('like', { concept: each.id }) }} />
      <fieldset class="row segmented"><legend>Show</legend>
        {([['one', 'best one'], ['several', 'above the cut'], ['all', 'all']] as const).map(([value, label]) => (
          <label key={value}><input type="radio" name="take" checked={take.value === value} onChange={() => { take.value = value }} />{label}</label>
        ))}
        <label title="Where masks of several phrases overlap, the surest is on top"><input type="checkbox" checked={arbitrated.value} onChange={(event) => { arbitrated.value = event.currentTarget.checked }} />surest on top</label>
      </fieldset>
    </section>
  )
}

function Ask() {
  const field = useRef<HTMLInputElement>(null)
  const last = photo.value!.concepts.filter((each) => each.explanation.length).at(-1)
  const ask = (event: Event) => {
    event.preventDefault()
    const text = field.current!.value.trim()
    if (text) { chosen.value = text; void change('ask', { text }) }
  }
  return (
    <section aria-label="Ask">
      <form onSubmit={ask} class="row">
        <label class="grow"><span class="hidden-label">Question</span>
          <input ref={field} id="question" placeholder="the two leftmost cups on the table" maxLength={300} autocomplete="off" />
        </label>
        <button type="submit">Ask</button>
      </form>
      {last && <details open><summary>Why</summary><ul class="why" tabIndex={0}>{last.explanation.map((line, place) => <li key={place}>{line}</li>)}</ul></details>}
    </section>
  )
}

function Objects() {
  const list = [...photo.value!.objects].filter((each) => visible.value.includes(each) || each.hidden).slice(0, 300)
  return (
    <section aria-label="Objects" class="grow scroll">
      <h2>{visible.value.length} shown</h2>
      <ul class="objects">
        {list.map((each) => (
          <li key={each.id} class={each.id === selected.value ? 'chosen' : ''}>
            <button type="button" class="name" title="Shift+click marks it, to be merged" aria-pressed={each.id === selected.value} onClick={(event) => { if (event.shiftKey) mark(each.id); else { selected.value = each.id; chosen.value = each.phrase } }}>
              {marked.value.has(each.id) && <b>✓ <span class="hidden-label">marked</span></b>}
              <i style={{ background: css(phrases.value.indexOf(each.phrase)) }} />
              {each.phrase || 'object'} {each.id} <small>{each.source === 'hand' ? 'by hand' : each.score.toFixed(2)}</small>
            </button>
            <button type="button" aria-pressed={each.hidden} aria-label={`Hide ${each.phrase} ${each.id}`} onClick={() => toggle(each, 'hidden')}>{each.hidden ? '○' : '●'}</button>
            <button type="button" aria-pressed={each.locked} aria-label={`Lock ${each.phrase} ${each.id}`} onClick={() => toggle(each, 'locked')}><Lock closed={each.locked} /></button>
          </li>
        ))}
      </ul>
      <div class="row wrap">
        <Button label="Delete" disabled={selected.value === null} onClick={() => objects('delete')} />
        <Button label="Split" disabled={selected.value === null} onClick={() => objects('split')} />
        <Button label="Fill holes" disabled={selected.value === null} onClick={() => objects('fill_holes')} />
        <Button label={marked.value.size ? `Merge ${marked.value.size} marked` : 'Merge all shown'} disabled={marked.value.size ? marked.value.size < 2 : visible.value.length < 2} hint="Mark objects by X or Shift+click (J)" onClick={() => void merge()} />
      </div>
    </section>
  )
}

const Lock = (props: { closed: boolean }) => (
  <svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.6">
    <rect x="3" y="7" width="10" height="7" rx="1.5" fill={props.closed ? 'currentColor' : 'none'} />
    <path d={props.closed ? 'M5 7V5a3 3 0 0 1 6 0v2' : 'M5 7V5a3 3 0 0 1 6-.6'} />
  </svg>
)

function Tools() {
  const now = photo.value!
  return (
    <div class="tools" role="toolbar" aria-label="Tools">
      {TOOLS.map(([name, label, key]) => (
        <Button key={name} label={label} hint={`${label} (${key.toUpperCase()})`} pressed={tool.value === name} onClick={() => { tool.value = name }} />
      ))}
      <span class="gap" />
      {(tool.value === 'brush' || tool.value === 'eraser') && <label>size <input type="range" min={1} max={120} value={brush.value} onInput={(event) => { brush.value = Number(event.currentTarget.value) }} /></label>}
      {tool.value === 'brush' && <label title="The model redraws what you paint"><input type="checkbox" checked={asPrompt.value} onChange={(event) => { asPrompt.value = event.currentTarget.checked }} />as a prompt</label>}
      <Button label="New object" onClick={() => { selected.value = null }} hint="Begin a new object (Escape)" />
      <Button label="Undo" disabled={!now.can_undo} onClick={() => void change('undo')} />
      <Button label="Redo" disabled={!now.can_redo} onClick={() => void change('redo')} />
    </div>
  )
}

function Cut() {
  const formats = server.value?.image_formats ?? ['coco']
  const format = signalOf(formats)
  const name = photo.value!.name.replace(/\.\w+$/, '')
  return (
    <div class="row bar">
      <label class="grow row">score above
        <input type="range" class="grow" min={0.1} max={0.95} step={0.01} value={threshold.value} aria-valuetext={threshold.value.toFixed(2)} onInput={(event) => moveThreshold(Number(event.currentTarget.value))} />
        <output>{threshold.value.toFixed(2)}</output>
      </label>
      <label>export as <select value={format.value} onChange={(event) => { format.value = event.currentTarget.value }}>{formats.map((each) => <option key={each}>{each}</option>)}</select></label>
      <Button label="Export" onClick={() => void run(() => download(`${path()}/export?format=${format.value}`, `${name}-${format.value}.zip`))} />
      <Button label="As code" onClick={() => void run(async () => { script.value = await get(`${path()}/script`) })} />
    </div>
  )
}

const exportFormat = signal('coco')
const signalOf = (formats: string[]) => { if (!formats.includes(exportFormat.value)) exportFormat.value = formats[0]!; return exportFormat }

function Script() {
  const now = script.value!
  return (
    <dialog open class="help code" aria-label="The session as code">
      <h2>Python</h2>
      <pre tabIndex={0}>{now.python}</pre>
      <Button label="Copy as Python" onClick={() => void copy(now.python, 'Python')} />
      <h2>Command line</h2>
      <pre tabIndex={0}>{now.command_line || '# nothing that the command line does'}</pre>
      <p class="row">
        <Button label="Copy as command line" onClick={() => void copy(now.command_line, 'Command line')} />
        <Button label="Close" onClick={() => { script.value = null }} />
      </p>
    </dialog>
  )
}
