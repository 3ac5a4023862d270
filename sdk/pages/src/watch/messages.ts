/** What the player says when there is no picture. Each message says what can be done. */

import type { Message } from '../card.ts';

export type Trouble =
  | 'auth_failed'
  | 'no_token'
  | 'waiting'
  | 'unsupported'
  | 'insecure'
  | 'unreachable'
  | 'decode'
  | 'ended'
  | 'no_id';

const WORDS: Record<Trouble, [title: string, text: string, action: string | undefined]> = {
  auth_failed: [
    'This link does not open the stream',
    'It has expired, was withdrawn, or belongs to another stream. Ask whoever sent it for a new link.',
    'Try again',
  ],
  no_token: [
    'The link is not complete',
    'The part that permits watching is missing. Open the whole link as it was sent to you.',
    undefined,
  ],
  waiting: ['Not live yet', 'Keep this page open: the picture comes by itself when the broadcast begins.', undefined],
  unsupported: [
    'This browser cannot play live streams',
    'It lacks WebTransport or Media Source Extensions. Use a current Chrome, Edge or Firefox.',
    'Try again',
  ],
  insecure: [
    'This page was not opened safely',
    'Browsers play live streams on https:// pages only. Open the same address with https://.',
    undefined,
  ],
  unreachable: [
    'The relay cannot be reached',
    'Check your connection. A firewall that blocks UDP blocks live streams too. It is tried again by itself.',
    'Try now',
  ],
  decode: [
    'The picture cannot be decoded',
    'This browser does not play the format of the stream. Try another quality or another browser.',
    'Try again',
  ],
  ended: ['The stream has ended', 'If it begins again, you can come back with the same link.', 'Look again'],
  no_id: ['No stream was named', 'The address of this page is /watch/ and the name of a stream.', undefined],
};

/** The message for a trouble; `again` is what its button does. */
export function message(trouble: Trouble, again: () => void): Message {
  const [title, text, label] = WORDS[trouble];
  const isCode = trouble !== 'waiting' && trouble !== 'ended';
  return {
    title,
    text,
    code: isCode ? trouble : undefined,
    action: label === undefined ? undefined : { label, run: again },
  };
}
