import { Hono } from 'hono'

// Ponder will not start without one.
export default new Hono()
