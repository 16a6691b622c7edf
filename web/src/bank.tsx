// Concepts that were kept with their examples, to be found on other photos.
import { signal } from '@preact/signals'
import { get, post, request, type Kept } from './api'
import { Button, run, say } from './shell'

const kept = signal<Kept[]>([])

export async function loadBank(): Promise<void> {
  const rows = await run(() => get<Kept[]>('/v1/concepts'))
  if (rows) kept.value = rows
}

export async function keepConcept(image: string, phrase: string): Promise<void> {
  const made = await run(() => post<Kept>('/v1/concepts', { image, phrase }))
  if (!made) return
  kept.value = [made, ...kept.value]
  say(`${made.name} is kept for other photos`)
}

async function forget(each: Kept): Promise<void> {
  if (await run(() => request('DELETE', `/v1/concepts/${each.id}`))) kept.value = kept.value.filter((other) => other !== each)
}

export function Bank(props: { find: (each: Kept) => void }) {
  if (!kept.value.length) return null
  return (
    <details class="bank" open>
      <summary>Kept examples</summary>
      <ul class="chips">
        {kept.value.map((each) => (
          <li class="chip" key={each.id}>
            <button type="button" class="name" title="Find it here, by its examples on another photo" onClick={() => props.find(each)}>
              <img src={`data:image/jpeg;base64,${each.picture}`} alt="" />find {each.name}
            </button>
            <Button label={`Forget the examples of ${each.name}`} onClick={() => void forget(each)}>×</Button>
          </li>
        ))}
      </ul>
    </details>
  )
}
