/**
 * "The newest request wins": one running job and at most one waiting. While a job runs, newer wishes replace the
 * waiting one, so a drag of sixty wishes a second asks the server exactly as often as it can answer, and what is
 * shown is never older than one answer.
 */

import { isAbort } from "./problem.js";

/** A running job is aborted for a newer wish once it has run this long; before that, its answer is worth having. */
const PATIENCE_MS = 300;

export class Latest<Wish, Answer> {
  #running: { controller: AbortController; since: number } | null = null;
  #waiting: { wish: Wish } | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(
    readonly run: (wish: Wish, signal: AbortSignal) => Promise<Answer>,
    readonly onAnswer: (answer: Answer, wish: Wish) => void,
    readonly onError: (error: unknown, wish: Wish) => void,
    readonly patienceMs: number = PATIENCE_MS,
  ) {}

  get busy(): boolean {
    return this.#running !== null;
  }

  ask(wish: Wish): void {
    if (!this.#running) {
      this.#start(wish);
      return;
    }
    this.#waiting = { wish };
    const age = performance.now() - this.#running.since;
    if (age >= this.patienceMs) this.#running.controller.abort();
    else this.#timer ??= setTimeout(() => this.#impatient(), this.patienceMs - age);
  }

  /** Forgets what waits and aborts what runs. */
  cancel(): void {
    this.#waiting = null;
    this.#running?.controller.abort();
  }

  #impatient(): void {
    this.#timer = null;
    if (this.#waiting) this.#running?.controller.abort();
  }

  #start(wish: Wish): void {
    const controller = new AbortController();
    this.#running = { controller, since: performance.now() };
    this.run(wish, controller.signal)
      .then(
        (answer) => {
          if (!controller.signal.aborted) this.onAnswer(answer, wish);
        },
        (error: unknown) => {
          if (!isAbort(error)) this.onError(error, wish);
        },
      )
      .finally(() => {
        this.#running = null;
        if (this.#timer !== null) clearTimeout(this.#timer);
        this.#timer = null;
        const next = this.#waiting;
        this.#waiting = null;
        if (next) this.#start(next.wish);
      });
  }
}
