// Reviews of a data-engine project: a sheet of questions, one key a verdict. Verdicts wait in the browser, those of all
// tabs together, until the server has them, so that a reload or a lost connection costs none.
import { computed, signal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { get, post, ServerError, type Sheet } from './api'
import { Button, run, say, server, useKeys } from './shell'
import { beginTask, reviewer, who, type Waiting } from './task'

interface Verdict { pair: string; maskset: string; number: number | null; label: string; seconds: number }

const TASKS = [['masks', 'Masks'], ['exhaustivity', 'All there?'], ['audit', 'Audit']] as const
const task = signal<string>('masks')
const sheet = signal<Sheet | null>(null)
const at = signal(0)
const verdicts = signal(new Map<string, Verdict>())
const order = signal<string[]>([]) // of verdicts, to take them back
const isLarge = signal(false)
const done = signal(0)
const byHand = signal<Waiting>({ correct: 0, gold: {} })
let began = performance.now()

const keyOf = (card: { maskset: string; number: number | null }) => `${card.maskset} ${card.number}`
const counts = computed(() => {
  const found = new Map<string, number>()
  for (const each of verdicts.value.values()) found.set(each.label, (found.get(each.label) ?? 0) + 1)
  return found
})

// Verdicts of a task that the server has not got, by what they are about.
function waiting(of: string): Map<string, Verdict> {
  const rows = JSON.parse(localStorage.getItem(`verdicts ${of}`) ?? '[]') as Verdict[]
  return new Map(rows.map((each) => [keyOf(each), each]))
}

function keep(of: string, change: (rows: Map<string, Verdict>) => void): void {
  const rows = waiting(of)
  change(rows)
  if (rows.size) localStorage.setItem(`verdicts ${of}`, JSON.stringify([...rows.values()]))
  else localStorage.removeItem(`verdicts ${of}`)
}

// A sheet whose verdicts wait from before a reload goes on where it was.
async function load(): Promise<void> {
  const next = await run(() => get<Sheet>(`/v1/review?task=${task.value}&limit=24&name=${encodeURIComponent(who())}`))
  if (!next) return
  const hand = await run(() => get<Waiting>(`/v1/review/hand?name=${encodeURIComponent(who())}`))
  if (hand) byHand.value = hand
  const before = waiting(next.task)
  sheet.value = next
  order.value = [...before.keys()].filter((key) => next.cards.some((card) => keyOf(card) === key))
  verdicts.value = new Map(order.value.map((key) => [key, before.get(key)!]))
  const open = next.cards.findIndex((card) => !before.has(keyOf(card)))
  at.value = Math.max(0, open < 0 ? next.cards.length - 1 : open)
  began = performance.now()
}

async function goOn(): Promise<void> {
  if (await send()) await load()
}

function decide(label: string): void {
  const now = sheet.value, card = now?.cards[at.value]
  if (!now || !card) return
  const seconds = Math.min(600, Math.round((performance.now() - began) / 10) / 100)
  began = performance.now()
  const { pair, maskset, number } = card, verdict = { pair, maskset, number, label, seconds }
  verdicts.value = new Map(verdicts.value).set(keyOf(card), verdict)
  order.value = [...order.value.filter((each) => each !== keyOf(card)), keyOf(card)]
  keep(now.task, (rows) => rows.set(keyOf(card), verdict))
  if (at.value < now.cards.length - 1) at.value++
}

function takeBack(): void {
  const last = order.value.at(-1), now = sheet.value
  if (!last || !now) return
  const next = new Map(verdicts.value)
  next.delete(last)
  verdicts.value = next
  order.value = order.value.slice(0, -1)
  at.value = Math.max(0, now.cards.findIndex((card) => keyOf(card) === last))
  keep(now.task, (rows) => rows.delete(last))
}

// Sends what waits, of every task; whether nothing waits any more.
async function send(): Promise<boolean> {
  const told = new Map<string, number>()
  for (const [of] of TASKS) {
    const answers = [...waiting(of).values()]
    if (!answers.length) continue
    const forget = () => keep(of, (rows) => answers.forEach((each) => {
      if (rows.get(keyOf(each))?.label === each.label) rows.delete(keyOf(each))
    }))
    const answer = await run(async () => {
      try {
        return await post<{ counts: Record<string, number> }>('/v1/review/verdicts', { task: of, answers, name: who() })
      } catch (error) {
        if (error instanceof ServerError && [400, 403, 422].includes(error.status)) forget() // it would never be taken
        throw error
      }
    })
    if (!answer) return false
    forget()
    done.value += answer.counts.taken ?? 0
    for (const [what, count] of Object.entries(answer.counts)) told.set(what, (told.get(what) ?? 0) + count)
  }
  if (told.size) say([...told].map(([what, count]) => `${count} ${what}`).join(', '))
  return true
}

// What waits is sent first, so that a correction begins with it.
async function goTo(kind: 'correct' | 'gold', slot: string | null, pair?: string): Promise<void> {
  if (await send()) await beginTask(kind, slot, pair)
}

async function correctChosen(): Promise<void> {
  const card = sheet.value?.cards[at.value]
  if (card) await goTo('correct', null, card.pair)
}

export function Review() {
  useEffect(() => { void load() }, [])
  const move = (by: number) => {
    const last = (sheet.value?.cards.length ?? 1) - 1
    at.value = Math.min(last, Math.max(0, at.value + by))
    began = performance.now()
  }
  const answers = sheet.value?.answers ?? []
  const letters = lettersOf(answers)
  useKeys([
    ...answers.map((label, place): [string, string, () => void] => [`${letters[place]} / ${place + 1}`, label, () => decide(label)]),
    ['ArrowRight', 'Next', () => move(1)], ['ArrowLeft', 'Before', () => move(-1)],
    ['ArrowDown', 'A row down', () => move(rowLength())], ['ArrowUp', 'A row up', () => move(-rowLength())],
    ['f', 'Larger, or the sheet again', () => { isLarge.value = !isLarge.value }],
    ['z / Ctrl+z', 'Take the last verdict back', takeBack],
    ['Enter', 'Send, and the next sheet', () => void goOn()],
    ['c', 'Correct the masks of this one', () => void correctChosen()],
    ['w', 'Correct what waits for it', () => void goTo('correct', null)],
  ])
  const now = sheet.value
  if (!server.value?.has_project) return <main class="welcome"><h1>Review</h1><p>Start the server with <code>--project FOLDER</code> to review a project of the data engine.</p></main>
  return (
    <main class="review">
      <div class="tools" role="toolbar" aria-label="Tasks">
        {TASKS.map(([value, label]) => <Button key={value} label={label} pressed={task.value === value} onClick={() => { task.value = value; void goOn() }} />)}
        <Button label={`Correct (${byHand.value.correct})`} hint="Pairs with something missing or wrong (W)" disabled={!byHand.value.correct} onClick={() => void goTo('correct', null)} />
        {Object.entries(byHand.value.gold).filter(([, count]) => count).map(([slot, count]) => (
          <Button key={slot} label={`Gold ${slot} (${count})`} hint="Label pairs of the gold set from the start" onClick={() => void goTo('gold', slot)} />
        ))}
        <label>your name <input value={reviewer.value} maxLength={100} onChange={(event) => { reviewer.value = event.currentTarget.value; localStorage.setItem('reviewer', reviewer.value); void load() }} /></label>
        <span class="gap" />
        <output>{now?.open ?? 0} open, {done.value} done by you</output>
        <Button label="Take back" disabled={!order.value.length} onClick={takeBack} />
        <Button label={`Send ${verdicts.value.size}`} class="primary" onClick={() => void goOn()} />
      </div>
      {now?.score && <p class="score">{now.score}</p>}
      {now && <p class="question">{now.question} {answers.map((label, place) => <Button key={label} label={`${label} (${letters[place]}) ${counts.value.get(label) ?? ''}`} onClick={() => decide(label)} />)} <Button label="correct it (c)" disabled={!now.cards.length} onClick={() => void correctChosen()} /></p>}
      {now && !now.cards.length && <p class="welcome">{now.held ? `${now.held} are on the sheets of others at present.` : 'Nothing is open here.'}</p>}
      <ul class={isLarge.value ? 'sheet large' : 'sheet'} aria-label="Questions">
        {now?.cards.map((card, place) => (
          <li key={keyOf(card)} class={`card${place === at.value ? ' chosen' : ''}${verdicts.value.has(keyOf(card)) ? ' judged' : ''}`} ref={(each) => { if (each && place === at.value) each.scrollIntoView({ block: 'nearest' }) }}>
            <button type="button" aria-pressed={place === at.value} onClick={() => { at.value = place; began = performance.now() }}>
              <img src={`data:image/jpeg;base64,${card.picture}`} alt={`${card.phrase}, ${card.number === null ? `${card.masks} masks` : 'one mask'}`} />
              <span><b>{card.phrase}</b> <em>{verdicts.value.get(keyOf(card))?.label ?? ''}</em></span>
            </button>
          </li>
        ))}
      </ul>
    </main>
  )
}

// The first letter of each answer that none before it has, and that no other key has.
function lettersOf(answers: string[]): string[] {
  const taken = new Set(['z', 'f', 'c', 'w'])
  return answers.map((label) => {
    const letter = [...label.toLowerCase()].find((each) => /[a-z]/.test(each) && !taken.has(each)) ?? '?'
    taken.add(letter)
    return letter
  })
}

function rowLength(): number {
  const cards = [...document.querySelectorAll<HTMLElement>('.sheet .card')]
  return Math.max(1, cards.filter((each) => each.offsetTop === cards[0]?.offsetTop).length)
}
