/** Line icons on a 16-unit grid, drawn in the current text colour. Always beside or inside something with a name. */

const PATHS = {
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  box: "M3 3h10v10H3z",
  lasso: "M8 3c3.3 0 5.5 1.6 5.5 3.9S11.300 10.800 8 10.800c-1.400 0-2.600-.300-3.600-.800M8 3C4.700 3 2.500 4.600 2.500 6.900c0 1.300.700 2.400 1.900 3.100m0 0c-.900.500-1 1.800.100 2.200 1 .400 1.600 1.200 1 2.300",
  undo: "M5.500 3 2.500 6l3 3M2.500 6h7a4 4 0 0 1 0 8H6",
  redo: "M10.500 3l3 3-3 3M13.500 6h-7a4 4 0 0 0 0 8H10",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.500v1M8 13.500v1M1.500 8h1M13.500 8h1M3.400 3.400l.700.700M11.900 11.900l.700.700M12.600 3.400l-.700.700M4.100 11.900l-.700.700",
  moon: "M13 9.600A5.500 5.500 0 0 1 6.400 3a5.500 5.500 0 1 0 6.600 6.600z",
  close: "M4 4l8 8M12 4l-8 8",
  chevron: "M4 6l4 4 4-4",
  download: "M8 2.500v7.500M5 7.500l3 3 3-3M3 13.500h10",
  play: "M5 3.500v9l7.500-4.500z",
  pause: "M5.500 3.500v9M10.500 3.500v9",
  search: "M7 2.500a4.500 4.500 0 1 0 0 9 4.500 4.500 0 0 0 0-9zM10.500 10.500l3 3",
  link: "M6.500 9.500l3-3M7 4.500l1.300-1.300a3 3 0 0 1 4.300 4.300L11.300 8.800M9 11.500l-1.300 1.300a3 3 0 0 1-4.300-4.300l1.300-1.300",
} as const;

type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round">
      <path d={PATHS[name]} />
    </svg>
  );
}

interface IconButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: () => void;
  readonly disabled?: boolean;
  readonly pressed?: boolean;
}

export function IconButton({ icon, label, onClick, disabled = false, pressed }: IconButtonProps) {
  return (
    <button type="button" class="icon-button" aria-label={label} title={label} disabled={disabled} {...(pressed === undefined ? {} : { "aria-pressed": pressed })} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}
