/** What a transport is to a connection. It moves frames, and knows nothing of what they say. */

/**
 * What a transport tells. After `ended`, and after `close` or `abort`, it tells nothing more.
 * @typedef {object} Listener
 * @property {() => void} opened the way to the server is open; `connect` may still be refused
 * @property {(frame: any) => void} frame
 * @property {() => void} life something was heard, be it a comment
 * @property {() => void} ready it takes another message
 * @property {(end: import('../errors.js').End) => void} ended
 */

/**
 * @typedef {object} Transport
 * @property {(connect: object, rest: string) => void} open sends the first message: `connect`, and the frames behind it
 * @property {(session: string) => void} connected `connect` was answered; messages may follow
 * @property {boolean} ready it takes a message now
 * @property {(message: string) => void} send
 * @property {() => void} close leaves, and says so
 * @property {() => void} abort lets go of everything
 */

/**
 * @typedef {object} Settings
 * @property {string} url the server's origin
 * @property {import('../tokens.js').Tokens} tokens
 * @property {typeof globalThis.WebSocket | undefined} WebSocket
 */
export {};
