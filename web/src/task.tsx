// Work for a project in a photo session: a pair to be corrected, or to be labelled in a slot of the gold set. All tools
// of the photo room are there; what is shown in the end goes to the ledger in the person's name.
import { signal } from '@preact/signals'
import { post, request, type Photo, type Task } from './api'
import { Button, run, say } from './shell'

export interface Waiting { correct: number; gold: Record<string, number> }
export const reviewer = signal(localStorage.getItem('reviewer') ?? '')
export const who = () => reviewer.value.trim() || 'reviewer'
const groups = signal<ReadonlySet<number>>(new Set()) // objects whose instances cannot be told apart
const IDLE = 60_000 // a longer pause is no work
let active = 0, last = performance.now()

function tick(): void {
  const now = performance.now()
  if (now - last < IDLE) active += now - last
  last = now
}
for (const kind of ['pointerdown', 'keydown']) addEventListener(kind, tick, true)

// Opens the next pair of a kind, or a certain one; where nothing is open, the review room.
export async function beginTask(kind: Task['kind'], slot: string | null, pair?: string): Promise<void> {
  const answer = await run(() => request('POST', '/v1/review/hand', { kind, slot, pair, name: who() }))
  if (!answer) return
  groups.value = new Set()
  active = 0
  last = performance.now()
  if (answer.status === 204) { say('Nothing is open there'); location.hash = 'review'; return }
  location.hash = `photo=${((await answer.json()) as Photo).id}`
}

export async function endTask(photo: Photo, action: 'done' | 'refuse' | 'leave', reason = ''): Promise<void> {
  tick()
  const body = { action, reason, groups: [...groups.value], seconds: Math.round(active / 100) / 10 }
  const answer = await run(() => post<{ counts: Record<string, number> }>(`/v1/review/hand/${photo.id}`, body))
  if (!answer) return // the masks are kept on the server: the key may be pressed again
  say(Object.keys(answer.counts).join(', '))
  if (action === 'leave') location.hash = 'review'
  else await beginTask(photo.task!.kind, photo.task!.slot)
}

export function toggleGroup(id: number | null): void {
  if (id === null) return
  const next = new Set(groups.value)
  if (!next.delete(id)) next.add(id)
  groups.value = next
}

export function refuse(photo: Photo): void {
  const reason = prompt('Why can nobody label this one?')
  if (reason !== null) void endTask(photo, 'refuse', reason.slice(0, 300))
}

export function TaskBar(props: { photo: Photo; count: number; selected: number | null }) {
  const { photo, count, selected } = props
  const task = photo.task!
  const what = task.kind === 'gold' ? `Gold, slot ${task.slot}: every` : 'Correct: every'
  return (
    <div class="task" role="toolbar" aria-label="Work for the project">
      <span>{what} <b>{task.phrase}</b>, whole and alone. <small>An example box (B) finds all like it; Alt+click takes away.</small></span>
      <span class="gap" />
      <Button label="A group" hint="The instances under the chosen mask cannot be told apart (K)" disabled={selected === null} pressed={selected !== null && groups.value.has(selected)} onClick={() => toggleGroup(selected)} />
      {task.kind === 'correct' && <Button label="Cannot be labelled" onClick={() => refuse(photo)} />}
      <Button label="Leave it" onClick={() => void endTask(photo, 'leave')} />
      <Button label={count ? `Done: ${count} right and all` : 'Done: none is there'} hint="Write it, and the next one (Ctrl+Enter)" class="primary" onClick={() => void endTask(photo, 'done')} />
    </div>
  )
}
