/** The frame that every chart shares: a title, a note about what is chosen or hovered, small tools. */

import type { ComponentChildren } from "preact";
import { IconButton } from "./icons.js";

interface CardProps {
  readonly title: string;
  readonly note: string;
  /** Whether the note states a choice, not a passing hover. */
  readonly strong: boolean;
  readonly tools?: ComponentChildren;
  readonly onClear: (() => void) | null;
  readonly onFold: () => void;
  readonly children: ComponentChildren;
}

export function Card({ title, note, strong, tools, onClear, onFold, children }: CardProps) {
  return (
    <section class="card" aria-label={title}>
      <header class="card-head">
        <h2>
          <button type="button" class="fold" aria-expanded="true" onClick={onFold} title={`Fold ${title}`}>
            {title}
          </button>
        </h2>
        <span class={`card-note${strong ? " is-strong" : ""}`}>{note}</span>
        {onClear ? <IconButton icon="close" label={`Clear ${title}`} onClick={onClear} /> : <span class="card-tools">{!note && tools}</span>}
      </header>
      {children}
    </section>
  );
}
