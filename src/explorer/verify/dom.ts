/**
 * An element with `text` or children. Text from files of strangers only ever becomes text nodes, in isolation from the
 * direction of what stands around it.
 */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  className: string,
  ...content: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name)
  if (className) made.className = className
  for (const part of content) {
    if (typeof part !== 'string') made.append(part)
    else {
      const text = document.createElement('bdi')
      text.textContent = part
      made.append(text)
    }
  }
  return made
}

/** The element of the page with this id, which its HTML has. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`the page has no ${id}`)
  return found as T
}

/** Terms and what they are, one a row. */
export function definitions(rows: readonly (readonly [string, string])[]): HTMLElement {
  const list = element('dl', '')
  for (const [term, text] of rows) list.append(element('dt', '', term), element('dd', '', text))
  return list
}
