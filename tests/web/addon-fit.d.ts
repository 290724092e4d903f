// What the dashboard uses of its copy of xterm.js's addon.

export class FitAddon {
  proposeDimensions(): { cols: number; rows: number } | undefined;
}
