// What all rooms of the page share: messages, the help, and the table of keys.
import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect } from 'preact/hooks'
import type { ServerInfo } from './api'

export const notice = signal<{ text: string; kind: 'error' | 'info' } | null>(null)
export const busy = signal(0)
export const isSlow = signal(false) // something takes more than 300 ms
export const server = signal<ServerInfo | null>(null)
export const isHelpOpen = signal(false)
export const keys = signal<[string, string][]>([])

let clearing = 0
export function say(text: string, kind: 'error' | 'info' = 'info'): void {
  notice.value = { text, kind }
  clearTimeout(clearing)
  if (kind === 'info') clearing = window.setTimeout(() => { notice.value = null }, 4000)
}

// Runs what asks the server; errors become a message, and a sign of work is shown after 300 ms.
export async function run<T>(work: () => Promise<T>): Promise<T | undefined> {
  busy.value++
  const slow = window.setTimeout(() => { isSlow.value = true }, 300)
  try {
    const made = await work()
    if (notice.value?.kind === 'error') notice.value = null
    return made
  } catch (error) {
    say(error instanceof Error ? error.message : String(error), 'error')
    return undefined
  } finally {
    clearTimeout(slow)
    if (--busy.value === 0) isSlow.value = false
  }
}

// Keys of a room; not while somebody writes in a field.
export function useKeys(table: [string, string, (event: KeyboardEvent) => void][]): void {
  useLayoutEffect(() => { // before the next key can come
    keys.value = table.map(([key, what]) => [key, what])
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      if (target.matches('input:not([type=range]):not([type=checkbox]), select, textarea')) return
      const name = `${event.ctrlKey || event.metaKey ? 'Ctrl+' : ''}${event.shiftKey && event.key.length > 1 ? 'Shift+' : ''}${event.key === ' ' ? 'Space' : event.key.length === 1 ? event.key.toLowerCase() : event.key}`
      const full = event.shiftKey && (event.ctrlKey || event.metaKey) ? `Ctrl+Shift+${event.key.toLowerCase()}` : name
      const found = table.find(([key]) => key.split(' / ').includes(full))
      if (!found) return
      event.preventDefault()
      found[2](event)
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  })
}

export function Button(props: {
  label: string; onClick: () => void; pressed?: boolean; disabled?: boolean; children?: ComponentChildren; class?: string; hint?: string
}) {
  const { label, children } = props
  return (
    <button
      type="button" class={props.class} aria-label={children ? label : undefined} title={props.hint ?? label}
      aria-pressed={props.pressed} disabled={props.disabled} onClick={props.onClick}
    >
      {children ?? label}
    </button>
  )
}

export function Help() {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement
      if (event.key === '?' && !target.matches('input, textarea')) isHelpOpen.value = !isHelpOpen.value
      if (event.key === 'Escape') isHelpOpen.value = false
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [])
  if (!isHelpOpen.value) return null
  return (
    <dialog open class="help" aria-label="Keys">
      <h2>Keys</h2>
      <table>
        <tbody>
          {keys.value.map(([key, what]) => <tr key={key}><th scope="row"><kbd>{key}</kbd></th><td>{what}</td></tr>)}
          <tr><th scope="row"><kbd>?</kbd></th><td>This table</td></tr>
        </tbody>
      </table>
      <Button label="Close" onClick={() => { isHelpOpen.value = false }} />
    </dialog>
  )
}

export function Notice() {
  const shown = notice.value
  return (
    <div role="status" aria-live="polite" class={`notice ${shown ? shown.kind : 'none'}`}>
      {shown?.text}
      {shown && <button type="button" aria-label="Dismiss" onClick={() => { notice.value = null }}>×</button>}
    </div>
  )
}

export async function copy(text: string, what: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    say(`${what} copied`)
  } catch {
    say('The browser does not let the page copy; select the text instead', 'error')
  }
}
