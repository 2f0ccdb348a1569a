/** Hubbub's client for browsers. */

export { Client } from './client.js';
export { HubbubError } from './errors.js';
export { Subscription } from './subscription.js';
