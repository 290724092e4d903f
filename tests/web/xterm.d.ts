// What the dashboard uses of its copy of xterm.js.

export class Terminal {
  constructor(options: {
    scrollback?: number;
    cursorBlink?: boolean;
    fontFamily?: string;
    fontSize?: number;
    theme?: Record<string, string>;
  });
  readonly cols: number;
  readonly rows: number;
  /** Where keys go. */
  readonly textarea: HTMLTextAreaElement | undefined;
  readonly modes: { readonly applicationCursorKeysMode: boolean };
  readonly options: { disableStdin?: boolean; cursorBlink?: boolean };
  open(parent: HTMLElement): void;
  loadAddon(addon: object): void;
  /** `shown` is called once the data is drawn, and all that was written before it. */
  write(data: string | Uint8Array, shown?: () => void): void;
  resize(cols: number, rows: number): void;
  paste(text: string): void;
  focus(): void;
  hasSelection(): boolean;
  getSelection(): string;
  selectAll(): void;
  clearSelection(): void;
  onData(listener: (text: string) => void): void;
  onBinary(listener: (binary: string) => void): void;
  /** False keeps the key from the terminal. */
  attachCustomKeyEventHandler(handler: (event: KeyboardEvent) => boolean): void;
  dispose(): void;
}
