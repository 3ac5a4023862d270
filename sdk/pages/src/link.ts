/**
 * What the page's address says: `/watch/<id>` or `/publish/<id>`, with credentials in the fragment, which
 * browsers do not send to any server: `#tok=<token>`, `#sk=<stream key>`. A token is taken from the query as
 * well, as signed URLs carry it; a stream key is not.
 */

export interface Link {
  id: string;
  token: string | undefined;
  streamKey: string | undefined;
  /** Settings of the page that are no secrets: `muted`, `quality`, `title`, `protocols`. */
  settings: URLSearchParams;
}

export function readLink(location: { pathname: string; search: string; hash: string }): Link {
  const settings = new URLSearchParams(location.search);
  const fragment = new URLSearchParams(location.hash.replace(/^#/, ''));
  const given = (name: string, from: URLSearchParams): string | undefined => from.get(name) || undefined;
  const [, , id = ''] = location.pathname.split('/');
  return {
    id: decodeURIComponent(id),
    token: given('tok', fragment) ?? given('tok', settings),
    streamKey: given('sk', fragment),
    settings,
  };
}

/** Drafts of MoQT to offer instead of all, as `protocols=moqt-18,moqt-16` says: for looking into a relay. */
export function protocolsOf(link: Link): string[] | undefined {
  return link.settings.get('protocols')?.split(',');
}
