/**
 * The grammar of payload URIs as docs/payloads.md has it, as one pattern for each kind. No two alternatives of a
 * repetition begin with the same character, so that matching is linear.
 */

const UNRESERVED_OR_SUB_DELIM = "A-Za-z0-9._~!$&'()*+,;=\\-"
const PERCENT = '%[0-9A-Fa-f]{2}'
const REG_NAME = `(?:[${UNRESERVED_OR_SUB_DELIM}]|${PERCENT})+`
const PCHAR = `(?:[${UNRESERVED_OR_SUB_DELIM}:@]|${PERCENT})`
const PATH = `(?:/${PCHAR}*)*`
const LOOSE = `(?:[${UNRESERVED_OR_SUB_DELIM}:@/?]|${PERCENT})*`
const QUERY = `(?:\\?${LOOSE})?`
const FRAGMENT = `(?:#${LOOSE})?`

// RFC 3986 section 3.2.2, IPv6address.
const H16 = '[0-9A-Fa-f]{1,4}'
const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])'
const LS32 = `(?:${H16}:${H16}|${OCTET}(?:\\.${OCTET}){3})`
const IPV6 = [
  `(?:${H16}:){6}${LS32}`,
  `::(?:${H16}:){5}${LS32}`,
  `(?:${H16})?::(?:${H16}:){4}${LS32}`,
  `(?:(?:${H16}:){0,1}${H16})?::(?:${H16}:){3}${LS32}`,
  `(?:(?:${H16}:){0,2}${H16})?::(?:${H16}:){2}${LS32}`,
  `(?:(?:${H16}:){0,3}${H16})?::${H16}:${LS32}`,
  `(?:(?:${H16}:){0,4}${H16})?::${LS32}`,
  `(?:(?:${H16}:){0,5}${H16})?::${H16}`,
  `(?:(?:${H16}:){0,6}${H16})?::`,
].join('|')
const HOST = `(?:\\[(?:${IPV6})\\]|${REG_NAME})`

const HTTP = new RegExp(`^[hH][tT][tT][pP][sS]?://${HOST}(?::([0-9]*))?${PATH}${QUERY}${FRAGMENT}$`)
const FILE = new RegExp(`^[fF][iI][lL][eE]:(?://${HOST}?)?/(?!/)${PCHAR}*${PATH}${FRAGMENT}$`)
const IPFS = new RegExp(`^[iI][pP][fF][sS]://${REG_NAME}${PATH}${QUERY}${FRAGMENT}$`)
const MAX_BYTES = 1024

/** Whether the bytes of a submission's URI are refused, whatever any setting says (`URI_REFUSED`). */
export function isUriRefused(uri: Uint8Array): boolean {
  if (uri.length > MAX_BYTES) return true
  // Byte by byte: no pattern has anything but ASCII.
  const text = Buffer.from(uri.buffer, uri.byteOffset, uri.length).toString('latin1')
  const http = HTTP.exec(text)
  if (http) return Number(http[1] ?? 0) > 65_535
  return !FILE.test(text) && !IPFS.test(text)
}
