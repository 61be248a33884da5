/**
 * Text from a payload, a chain or a server as one line that a terminal cannot be fooled by: control characters (C0, C1, DEL),
 * line separators and bidirectional controls are written as escapes.
 */
export const printable = (text: string): string =>
  text.replace(
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
    /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** Name and value pairs as aligned lines, each ended by LF. */
export function table(rows: readonly (readonly [name: string, value: unknown])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length)) + 2
  return rows.map(([name, value]) => `${name.padEnd(width)}${printable(String(value ?? '-'))}\n`).join('')
}
