/** Options that viewers and publishers share. */

/** The SHA-256 of a development certificate: hex, base64 or the 32 bytes. */
export type CertificateHash = string | ArrayBuffer | Uint8Array;

/** What the data plane needs to know; `Streams` hands its own on. */
export interface DataPlaneOptions {
  /** Base of resolve and catalog requests; the empty string is the page's own origin. */
  apiBase?: string | undefined;
  /** Origin of the relay, such as `https://relay.example.org:4443`. Without it `apiBase` is asked. */
  relayUrl?: string | undefined;
  /** A playback token (JWT), sent as `?tok=`. */
  token?: string | undefined;
  /** Certificates to trust beside those that the browser trusts. */
  serverCertificateHash?: CertificateHash | CertificateHash[] | undefined;
  /** Drafts of MoQT that are offered to the relay, best first (default `moqt-22`, `moqt-18`, `moqt-16`). */
  protocols?: string[] | undefined;
}

/** Where the files of this package are, when they are not beside it. */
export interface AssetOptions {
  /** URL of `mainstem.wasm`. */
  wasmUrl?: string | URL | undefined;
  /** URL of `session.worker.js`. */
  workerUrl?: string | URL | undefined;
  /** Whether sessions run in a Worker (default true). */
  worker?: boolean | undefined;
  /** A `WebTransport` to use instead of the browser's; sessions then run on the page's thread. */
  webTransport?: typeof WebTransport | undefined;
}
