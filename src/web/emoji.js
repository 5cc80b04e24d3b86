// Emoji by their common names, as chats write them: `:tada:`.

/** What is offered first. */
export const QUICK = ['👍', '❤️', '😂', '🎉', '👀', '🙏', '✅', '🚀'];

const TABLE = [
  '+1 👍 thumbsup 👍 -1 👎 thumbsdown 👎 heart ❤️ joy 😂 tada 🎉 eyes 👀 pray 🙏 white_check_mark ✅ check ✅ rocket 🚀',
  'smile 😄 grin 😁 grinning 😀 smiley 😃 laughing 😆 sweat_smile 😅 rofl 🤣 slightly_smiling_face 🙂 upside_down_face 🙃',
  'wink 😉 blush 😊 innocent 😇 heart_eyes 😍 star_struck 🤩 kissing_heart 😘 yum 😋 stuck_out_tongue 😛 zany_face 🤪',
  'hugs 🤗 thinking 🤔 shushing_face 🤫 zipper_mouth_face 🤐 raised_eyebrow 🤨 neutral_face 😐 expressionless 😑 no_mouth 😶',
  'smirk 😏 unamused 😒 roll_eyes 🙄 grimacing 😬 relieved 😌 pensive 😔 sleepy 😪 sleeping 😴 mask 😷 sick 🤢 sneezing_face 🤧',
  'hot_face 🥵 cold_face 🥶 dizzy_face 😵 exploding_head 🤯 cowboy 🤠 partying_face 🥳 sunglasses 😎 nerd_face 🤓 monocle 🧐',
  'confused 😕 worried 😟 frowning 🙁 open_mouth 😮 hushed 😯 astonished 😲 flushed 😳 pleading_face 🥺 fearful 😨 cold_sweat 😰',
  'cry 😢 sob 😭 scream 😱 disappointed 😞 sweat 😓 weary 😩 tired_face 😫 yawning_face 🥱 triumph 😤 rage 😡 angry 😠',
  'melting_face 🫠 saluting_face 🫡 smiling_imp 😈 skull 💀 poop 💩 clown_face 🤡 ghost 👻 alien 👽 robot 🤖 jack_o_lantern 🎃',
  'see_no_evil 🙈 hear_no_evil 🙉 speak_no_evil 🙊 wave 👋 raised_hand ✋ vulcan_salute 🖖 ok_hand 👌 pinched_fingers 🤌 v ✌️',
  'crossed_fingers 🤞 metal 🤘 call_me_hand 🤙 point_left 👈 point_right 👉 point_up 👆 point_down 👇 fist ✊ facepunch 👊',
  'clap 👏 raised_hands 🙌 open_hands 👐 handshake 🤝 writing_hand ✍️ muscle 💪 brain 🧠 shrug 🤷 facepalm 🤦 bow 🙇',
  'running 🏃 dancer 💃 technologist 🧑‍💻 ninja 🥷 cat 🐱 dog 🐶 fox_face 🦊 bear 🐻 panda_face 🐼 tiger 🐯 lion 🦁 cow 🐮 pig 🐷',
  'frog 🐸 monkey 🐒 chicken 🐔 penguin 🐧 bird 🐦 duck 🦆 owl 🦉 unicorn 🦄 bee 🐝 bug 🐛 butterfly 🦋 snail 🐌 turtle 🐢 snake 🐍',
  'octopus 🐙 crab 🦀 whale 🐳 dolphin 🐬 fish 🐟 elephant 🐘 sloth 🦥 hedgehog 🦔 dragon 🐉 cactus 🌵 evergreen_tree 🌲 palm_tree 🌴',
  'seedling 🌱 four_leaf_clover 🍀 maple_leaf 🍁 mushroom 🍄 rose 🌹 sunflower 🌻 cherry_blossom 🌸 tulip 🌷 bouquet 💐',
  'apple 🍎 banana 🍌 lemon 🍋 watermelon 🍉 grapes 🍇 strawberry 🍓 cherries 🍒 peach 🍑 avocado 🥑 tomato 🍅 carrot 🥕 bread 🍞',
  'cheese 🧀 egg 🥚 bacon 🥓 pizza 🍕 hamburger 🍔 fries 🍟 taco 🌮 sushi 🍣 ramen 🍜 cookie 🍪 cake 🍰 birthday 🎂 doughnut 🍩',
  'popcorn 🍿 chocolate_bar 🍫 icecream 🍦 coffee ☕ tea 🍵 beer 🍺 beers 🍻 wine_glass 🍷 cocktail 🍸 champagne 🍾 clinking_glasses 🥂',
  'soccer ⚽ basketball 🏀 tennis 🎾 dart 🎯 trophy 🏆 medal 🏅 first_place 🥇 video_game 🎮 game_die 🎲 chess_pawn ♟️ art 🎨',
  'musical_note 🎵 headphones 🎧 guitar 🎸 drum 🥁 microphone 🎤 clapper 🎬 camera 📷 tv 📺 computer 💻 keyboard ⌨️ phone 📱',
  'bulb 💡 flashlight 🔦 battery 🔋 electric_plug 🔌 floppy_disk 💾 cd 💿 satellite 📡 telescope 🔭 microscope 🔬 wrench 🔧 hammer 🔨',
  'gear ⚙️ toolbox 🧰 magnet 🧲 link 🔗 paperclip 📎 scissors ✂️ pushpin 📌 lock 🔒 unlock 🔓 key 🔑 mag 🔍 bell 🔔 no_bell 🔕',
  'package 📦 email 📧 inbox_tray 📥 outbox_tray 📤 memo 📝 pencil ✏️ book 📖 books 📚 newspaper 📰 bookmark 🔖 calendar 📅',
  'chart 📈 chart_down 📉 bar_chart 📊 clipboard 📋 file_folder 📁 wastebasket 🗑️ hourglass ⌛ alarm_clock ⏰ stopwatch ⏱️ watch ⌚',
  'moneybag 💰 dollar 💵 euro 💶 credit_card 💳 gift 🎁 balloon 🎈 confetti_ball 🎊 ribbon 🎀 sparkles ✨ star ⭐ star2 🌟 dizzy 💫',
  'boom 💥 fire 🔥 zap ⚡ snowflake ❄️ snowman ⛄ sunny ☀️ cloud ☁️ rain 🌧️ umbrella ☔ rainbow 🌈 ocean 🌊 moon 🌙 earth 🌍',
  'house 🏠 office 🏢 hospital 🏥 school 🏫 factory 🏭 tent ⛺ mountain ⛰️ beach 🏖️ car 🚗 bus 🚌 train 🚆 bike 🚲 airplane ✈️',
  'ship 🚢 anchor ⚓ construction 🚧 traffic_light 🚦 fuelpump ⛽ helicopter 🚁 flying_saucer 🛸 checkered_flag 🏁 white_flag 🏳️',
  'rainbow_flag 🏳️‍🌈 orange_heart 🧡 yellow_heart 💛 green_heart 💚 blue_heart 💙 purple_heart 💜 black_heart 🖤 white_heart 🤍',
  'broken_heart 💔 two_hearts 💕 sparkling_heart 💖 100 💯 anger 💢 sweat_drops 💦 dash 💨 zzz 💤 speech_balloon 💬 thought_balloon 💭',
  'x ❌ warning ⚠️ no_entry ⛔ stop_sign 🛑 question ❓ exclamation ❗ bangbang ‼️ recycle ♻️ infinity ♾️ heavy_plus_sign ➕ minus ➖',
  'arrow_up ⬆️ arrow_down ⬇️ arrow_left ⬅️ arrow_right ➡️ repeat 🔁 new 🆕 ok 🆗 cool 🆒 free 🆓 sos 🆘 red_circle 🔴',
  'orange_circle 🟠 yellow_circle 🟡 green_circle 🟢 blue_circle 🔵 purple_circle 🟣 black_circle ⚫ white_circle ⚪ crown 👑 gem 💎',
];

/** By name. */
export const EMOJI = new Map();
for (const line of TABLE) {
  const words = line.split(' ');
  for (let i = 0; i < words.length; i += 2) EMOJI.set(words[i], words[i + 1]);
}

/** Emoji whose name has `part` in it, those that begin with it first: `[name, emoji]`. */
export function findEmoji(part, most) {
  const found = [...EMOJI].filter(([name]) => name.includes(part));
  found.sort(([a], [b]) => b.startsWith(part) - a.startsWith(part));
  const seen = new Set();
  return found.filter(([, emoji]) => !seen.has(emoji) && seen.add(emoji)).slice(0, most);
}
