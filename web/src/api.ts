// The server's interface, as far as the page uses it. Types follow src/masklet/serve/schemas.py.

import { signal } from '@preact/signals'

export type Box = [number, number, number, number]
export type Point = [number, number]
export interface Rle { size: [number, number]; counts: string }
export interface Kept { id: string; name: string; phrase: string; owner: string; picture: string }
export interface Concept { phrase: string; presence: number; kept: string; boxes: Box[]; not_boxes: Box[]; explanation: string[] }
export interface Thing {
  id: number; phrase: string; score: number; box: Box; area: number; mask: Rle
  source: 'phrase' | 'click' | 'query' | 'hand'; hidden: boolean; locked: boolean; points: Point[]; labels: number[]
}
export interface Task { kind: 'correct' | 'gold'; slot: string | null; pair: string; phrase: string; name: string }
export interface Photo {
  id: string; name: string; version: number; width: number; height: number; threshold: number
  concepts: Concept[]; objects: Thing[]; can_undo: boolean; can_redo: boolean; task: Task | null
}
export interface Mark { frame: number; kind: string; object: number | null; phrase: string; points: Point[]; labels: number[] }
export interface Frame {
  index: number; time: number; size: [number, number]; ids: number[]; concepts: string[]
  scores: number[]; object_scores: number[]; rles: string[]
}
export interface Video {
  id: string; name: string; version: number; width: number; height: number; frames_total: number | null
  fps: number | null; objects: number[]; concepts: string[]; marks: Mark[]; frames: number[]; stale: number[]
  versions: number; job: string | null
}
export interface Job { id: string; state: string; done: number; error: string | null }
export interface Row { seq: number; frame?: Frame; job?: Job }
export interface Card { pair: string; maskset: string; number: number | null; phrase: string; masks: number; picture: string }
export interface Sheet { task: string; question: string; answers: string[]; open: number; held: number; cards: Card[]; score: string }
export interface ServerInfo {
  version: string; model: string; state: string; person: string; role: string; has_project: boolean
  image_formats: string[]; video_formats: string[]
}
export interface Session { id: string; kind: 'photo' | 'video'; name: string; owner: string; used: number }

export const isKept = signal(false) // what is shown is from before: the server cannot be reached

export class ServerError extends Error {
  constructor(readonly status: number, message: string) { super(message) }
}

// The token comes behind # once, which no browser sends anywhere, and stays for this tab alone.
const given = new URLSearchParams(location.hash.slice(1)).get('token')
if (given) {
  sessionStorage.setItem('token', given)
  history.replaceState(null, '', location.pathname)
}

function headers(): Record<string, string> {
  const token = sessionStorage.getItem('token')
  return token ? { authorization: `Bearer ${token}` } : {}
}

// How requests reach whatever answers them. A page without a server, whose model runs in the browser, puts its own here
// before it begins (docs/serve.md): the same paths, bodies and answers.
export type Transport = (path: string, options: RequestInit) => Promise<Response>
let transport: Transport = (path, options) => fetch(path, options)
export function setTransport(other: Transport): void { transport = other }

export async function request(method: string, path: string, body?: unknown): Promise<Response> {
  const isForm = body instanceof FormData
  const extra: Record<string, string> = body === undefined || isForm ? {} : { 'content-type': 'application/json' }
  let answer: Response
  try {
    answer = await transport(path, {
      method,
      headers: { ...headers(), ...extra },
      body: body === undefined ? undefined : isForm ? body : JSON.stringify(body),
    })
  } catch {
    throw new ServerError(0, 'The server cannot be reached. What you did is kept there; try again when it is back.')
  }
  if (answer.ok) {
    isKept.value = answer.headers.has('x-masklet-kept')
    return answer
  }
  let message = `the server answered ${answer.status}`
  try {
    message = (await answer.json()).error ?? message
  } catch { /* no JSON: the status has to do */ }
  throw new ServerError(answer.status, message)
}

export const get = async <T>(path: string): Promise<T> => (await request('GET', path)).json()
export const post = async <T>(path: string, body?: unknown): Promise<T> => (await request('POST', path, body)).json()

export async function upload<T>(path: string, field: string, file: Blob, name: string): Promise<T> {
  const form = new FormData()
  form.append(field, file, name)
  return post<T>(path, form)
}

export const bitmap = async (path: string): Promise<ImageBitmap> =>
  createImageBitmap(await (await request('GET', path)).blob())

export async function download(path: string, name: string): Promise<void> {
  const address = URL.createObjectURL(await (await request('GET', path)).blob())
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

// Lines of JSON as they come; a line that is not finished waits for its rest.
export async function* stream(path: string): AsyncGenerator<Row> {
  const answer = await request('GET', path)
  const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (rest + value).split('\n')
    rest = lines.pop()!
    for (const line of lines) if (line.trim()) yield JSON.parse(line) as Row
  }
}
