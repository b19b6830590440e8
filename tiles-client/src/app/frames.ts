/** What is drawn by hand is drawn once a frame, however many answers come between two. */

/**
 * A function that calls a job in the next frame, once, with what it was told last.
 * The second one drops what waits.
 */
export function everyFrame<Input>(job: (input: Input) => void): readonly [tell: (input: Input) => void, drop: () => void] {
  let frame = 0;
  let newest: Input;
  const tell = (input: Input): void => {
    newest = input;
    if (frame === 0) frame = requestAnimationFrame(() => ((frame = 0), job(newest)));
  };
  const drop = (): void => {
    cancelAnimationFrame(frame);
    frame = 0;
  };
  return [tell, drop];
}
