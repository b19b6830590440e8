/**
 * Has the server open a dataset once more, where something of it is stuck. Offered beside a failure of the server only, and only to
 * those whom it lets: with an admin's key, where a proxy passes `/admin` on under the page's own address. Without a key nobody is asked.
 */

import { effect } from "@preact/signals";
import type { Client } from "../core/index.js";
import { failed } from "./problems.js";
import * as state from "./state.js";

export class Restart {
  readonly #client: Client;
  readonly #named: () => string | null;
  readonly #reopen: (name: string) => Promise<void>;
  /** Whether this page may do it, by dataset: failures come in crowds. */
  #allowed: { readonly name: string; readonly answer: Promise<boolean> } | null = null;

  /**
   * @param named The dataset that is shown, or was to be; null for none.
   * @param reopen Shows a dataset anew, as it was looked at.
   */
  constructor(client: Client, named: () => string | null, reopen: (name: string) => Promise<void>) {
    this.#client = client;
    this.#named = named;
    this.#reopen = reopen;
    effect(() => {
      const { value: problem } = state.problem;
      if (problem === null) this.#allowed = null;
      else if (isOfServer(problem) && !problem.restart) void this.#offer(problem);
    });
  }

  async #offer(problem: state.Problem): Promise<void> {
    const name = this.#named();
    if (name === null || this.#client.key === null) return;
    if (this.#allowed?.name !== name) this.#allowed = { name, answer: this.#serves(name) };
    const isAllowed = await this.#allowed.answer;
    if (isAllowed && state.problem.value === problem) state.problem.value = { ...problem, restart: () => void this.#restart(name) };
  }

  /** Whether an administrator's list of what is served is for us to read, and names it. */
  async #serves(name: string): Promise<boolean> {
    try {
      const { datasets } = await this.#client.get<{ datasets: readonly { name: string }[] }>("/admin/datasets");
      return datasets.some((served) => served.name === name);
    } catch {
      // Not for this key, or not at this address: then there is nothing to offer.
      return false;
    }
  }

  async #restart(name: string): Promise<void> {
    state.problem.value = null;
    try {
      await this.#client.request(`/admin/datasets/${encodeURIComponent(name)}/restart`, { method: "POST" });
    } catch (error) {
      failed(`“${name}” could not be restarted`, error, () => void this.#restart(name));
      return;
    }
    state.notice.value = `${name} has been restarted`;
    await this.#reopen(name);
  }
}

/** A dataset that is not there, a key that is wrong or no answer at all are not what a restart mends. */
function isOfServer({ status }: state.Problem): boolean {
  return status !== undefined && status >= 500;
}
